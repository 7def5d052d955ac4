// Package sshrun is the runner that runs commands on devices by ssh. It is a [runner.Runner]:
//
//	devices, err := sshrun.New(sshrun.Config{})
//	…
//	defer devices.Close() // after the gateway has ended
//	runner.Register(gw, "ssh", devices)
//
// # The path of a request
//
//	Runner.Run           sshrun.go      allowed? the target's settings; the stages
//	→ settingsReader     settings.go    ssh_config: names, users, files, jump hosts
//	→ device.take        device.go      a place for a session on a connection that is there, or on a new one
//	→ Runner.dial        dial.go        resolve and connect, directly or through jump hosts; then hostkey and auth
//	  knownHosts         knownhosts.go  the verdict on the host key
//	  credentials        auth.go        agent, keys, certificates
//	→ run                session.go     start, run and read: the command on a channel of the connection
//
// # Who is trusted
//
// A host key gets the verdict that OpenSSH gives: the files of UserKnownHostsFile and GlobalKnownHostsFile, with hashed names,
// wildcards, several keys for a host, @cert-authority and @revoked. Only such host keys are asked for as the files know, so
// that a device with keys of several types shows the right one. StrictHostKeyChecking is yes (and ask, since there is nobody
// to ask), accept-new, or no.
//
// The gateway shows itself with the keys of the agent, of IdentityFile and of CertificateFile. A key with a passphrase that
// the agent does not have is left out, unless [Runner.Unlock] was called for it; [Runner.Locked] names such keys, so that a
// program can ask for each passphrase once, before anything starts. There are no passwords and no questions.
//
// Of ssh_config these count, and others are ignored: Host, HostName, Port, User, IdentityFile, IdentitiesOnly, IdentityAgent,
// CertificateFile, ProxyJump, UserKnownHostsFile, GlobalKnownHostsFile, HostKeyAlias, HashKnownHosts, StrictHostKeyChecking,
// ConnectTimeout, ServerAliveInterval, ServerAliveCountMax, Include. A ProxyCommand is an error. Match has to be all or host.
//
// # Connections
//
// A device is a target as it was asked for. Its connections are kept and shared by its requests: one is made for the first,
// another one when the sessions of a connection are all in use (a device that refuses a session has told how many it has),
// up to Config.Connections; then requests wait. A connection without a session is closed after Config.Idle. The jump hosts of
// a target are devices too: one connection to a jump host carries all that goes through it.
//
// A kept connection sends keepalive@openssh.com each ServerAliveInterval (15 s by default, even where ssh_config has none) and
// is closed after ServerAliveCountMax without an answer; its requests end as lost. Every stage has its own time-out, through
// hops too: what does not answer is cut off by closing what carries it. A device that hangs costs its own requests alone.
//
// # Ending a command
//
// When a time-out passes or the caller leaves, the device is asked to send TERM to the command, then KILL after the grace
// (2 s by default, since signals have to travel), and the channel is closed. A device whose sshd knows no signals gets the
// closed channel alone: the command may go on there. Once a command has ended its output is read to the end; where something
// that it left in the background holds the output open, what came until then is the output, and detail says so
// ({"output_held":true}).
//
// # Limits
//
// Config.MaxSessions commands run at once; further requests wait for Config.MaxWait and are then refused as busy.
// Config.Dials connections are made at once. Of each output the request's max_output bytes are kept, of all together
// Config.MaxOutput.
package sshrun
