// Package execrun is the runner that starts programs on the gateway's own machine. It is a [runner.Runner]:
//
//	commands, err := execrun.New(execrun.Config{})
//	…
//	defer commands.Close() // after the gateway has ended
//	runner.Register(gw, "exec", commands)
//
// # The path of a request
//
//	Runner.Run          execrun.go         allowed? a slot; the stages
//	→ Runner.prepare    command.go         argv or shell, environment, folder, the program's path
//	→ keeper.start      keeper*.go         the program as the leader of a new session, inside what keeps its family together
//	→ supervise         execrun.go         waits for the end, the time-outs, the caller; TERM, then KILL
//	  outputs           output.go          a goroutine for each of stdout and stderr, and one that writes stdin
//	→ task.kill         keeper*.go         whoever is left of the family
//	→ task.wait         keeper*.go         only now is the leader reaped, so its id cannot be another's while signals are sent
//
// # No process survives its task
//
// The family of a task is the program and all that it starts, however: in another session (setsid), by a double fork, with
// nohup, as grandchildren that hold the output open. When the program ends, when a time-out passes, when the caller cancels
// or leaves, and at the latest when Close is called, the whole family is killed before Run returns. There are three ways to
// know the family; New takes the first that the system has, and [Runner.Containment] tells which:
//
//	cgroup       Linux with cgroup v2 and a place in it where the gateway may make groups: a program is born into a group of
//	             its own (clone into cgroup), and cgroup.kill kills whoever is in it. Nothing gets out of it but what root
//	             moves. A gateway that was killed itself leaves its groups behind; the next New on the machine empties them.
//	supervisor   Linux, where the program that embeds this package calls [Supervise] first thing in main: each task is
//	             started by a small process that is the reaper of all its descendants (PR_SET_CHILD_SUBREAPER) and kills
//	             them, even when the gateway is killed. It cannot keep what kills the supervisor itself.
//	group        elsewhere: the process group alone. A program that begins a session of its own gets away.
//
// The rule is that the task ends with the program: what it leaves in the background is killed then. A program has the
// grace time (Request.Grace, 50 ms by default) between TERM, which goes to its process group, and KILL.
//
// # What a program gets
//
// Argv runs without a shell; its first word is looked up in the PATH that the program gets. Command needs Shell, and runs as
// /bin/sh -c. The environment is PATH, HOME, USER, LOGNAME, LANG, LC_ALL, TZ and TMPDIR as the gateway has them, SHOAL_TARGET
// with the request's target, and over these Request.Env; nothing else of the gateway's environment is passed on. Standard
// input is Request.Stdin, or empty. There is no terminal.
//
// # Limits
//
// Config.MaxProcesses programs run at once; further requests wait for Config.MaxWait and are then refused as busy. Of each
// output the request's max_output bytes are kept, of all outputs together Config.MaxOutput bytes; what is beyond is read,
// dropped and counted. A program that writes faster than a live reader takes waits in its write.
package execrun
