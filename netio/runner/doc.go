// Package runner is what all runners have in common. A [Runner] does one piece of real work for a gateway: execrun starts a
// program on the gateway's machine, sshrun runs a command on a device, probe finds out whether an address answers. Each is
// asked by a [Request] and answers with a [Record], and each is registered as an ordinary subroutine by [Register], so that
// whoever embeds netio can use, wrap or replace it:
//
//	gw := netio.NewGateway(netio.GatewayConfig{})
//	commands, err := execrun.New(execrun.Config{})
//	…
//	defer commands.Close()
//	runner.Register(gw, "exec", commands)
//
//	rec, err := runner.Call(ctx, swarm, "exec", &runner.Request{Argv: []string{"uptime"}})
//
// # The path of a request
//
//	Call, Live                  client.go    encodes the request, decodes the record
//	→ netio                                  an ordinary task, or a stream where output is wanted as it comes
//	→ Register's subroutine     runner.go    decodes, runs, encodes
//	→ Runner.Run                             the runner's own package; Buffer (buffer.go) bounds what it keeps
//
// # What a record says, and what a status says
//
// A task whose runner tried has the status ok, and the record says what happened: a device that cannot be reached, a host
// key that has changed and a command that exits with 3 are outcomes that the runner has found out. [Record.OK] tells whether
// the command ended well. Three things are the status of the task instead, since the runner has done nothing: a request that
// cannot be read is a bad argument, one that the gateway does not allow is not_allowed, and one for which it has no room is
// busy. The last two have the record as the details of their *netio.TaskError; [Call] returns it.
//
// The deadline of a task, which crosses the wire, ends it as netio does: with the status timeout and without a record. Whoever
// wants the output that came until then sets Request.Timeout, which counts from when the runner begins.
//
// # The JSON form
//
// Version 1. A request and a record are each one JSON object. A reader skips members that it does not know; a writer that
// changes what a member means raises v. A reader refuses a v above its own.
//
// Text is a JSON string where its bytes are UTF-8, and otherwise stands in a member with the same name and _base64 appended
// (RFC 4648 section 4), as it does too where the escapes of a JSON string would take more room than base64. Exactly one of
// the two is there; in a request both may be missing, which is empty. Lists have one of the two forms for all their elements.
//
// A request; all members but v may be missing:
//
//	v                   number  1
//	target     (text)   string  the device: [user@]host[:port], an IPv6 address in brackets where a port follows;
//	                            for exec a name for the record, which the program finds in SHOAL_TARGET
//	command    (text)   string  a command line for a shell: the device's, or with shell the gateway's /bin/sh
//	argv       (text)   array   program and arguments, which no shell reads; over ssh they are quoted for the device's shell
//	shell               bool    exec: run command with /bin/sh -c
//	env        (text)   array   NAME=value each; exec: beside a small fixed environment; ssh: what the device accepts
//	dir        (text)   string  exec: the working folder
//	stdin      (text)   string  what the command reads; then the end of its input
//	timeout_ms          number  for all stages together, from the runner's beginning; 0: the runner's own default
//	connect_timeout_ms  number  for each of resolve, connect, hostkey and auth, and for each hop; 0: as above
//	silence_ms          number  the command is ended when it writes nothing for longer; 0: never
//	grace_ms            number  from the polite signal to the kill; 0: the runner's own default
//	max_output          number  bytes kept of each of stdout and stderr, 1 MiB at most; 0: 256 KiB
//	attempt             number  which try this is, from 1; copied into the record; 0: 1
//	detail              any     what one runner alone understands; see its package
//
// A record:
//
//	v               number  1
//	runner          string  exec, ssh, tcp, …
//	target  (text)  string  as in the request
//	command (text)  string  as in the request; an argv is joined, quoted as a shell would need it
//	stage           string  the stage that was reached: none, resolve, connect, hostkey, auth, start, run, read, done
//	reason          string  why it went no further, or why the command was ended: one of the Reasons; "" where it ran to its end
//	error           string  the same for a person, in one line that names target and stage; "" where reason is ""
//	exit            number  the exit status; missing where there is none
//	signal          string  the signal that ended the command, such as KILL; missing where none did
//	stdout  (text)  string  what is kept of it: its first bytes, then its last
//	stderr  (text)  string  the same
//	stdout_dropped  number  bytes dropped between the first and the last; missing: 0
//	stdout_gap      number  where in stdout they are missing, in bytes; missing where none are
//	stderr_dropped  number
//	stderr_gap      number
//	attempt         number  from 1
//	start           string  when the runner began, RFC 3339 with nanoseconds, in UTC
//	elapsed_ms      number  from then to the end, milliseconds
//	stage_ms        object  how long each stage took that was entered, milliseconds by its name
//	detail          any     what one runner alone has to say; missing where it has nothing
//
// # The stream form
//
// Register's second subroutine, named with .live appended, is a stream: the argument is a request, and each chunk is a piece
// of output as it came, its ident telling which: 1 stdout, 2 stderr. The last chunk has the ident 3 and is the record, whose
// stdout and stderr are as in a call. A runner waits for a reader that is slow, and so does its command.
//
// # Limits
//
// A request has 1 MiB of text at most, beside its stdin, which the gateway's frame limit bounds. A Buffer keeps what the
// request asks for, and a [Budget] bounds the buffers of a whole gateway: beyond it output is dropped and counted.
package runner
