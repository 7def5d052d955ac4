package sshrun

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"shoal/netio/runner"
)

// session is a command on a channel of a connection.
type session struct {
	work    *sync.WaitGroup // the runner's: goroutines that wait for a device end at the latest with its connection
	channel ssh.Channel
	out     *runner.Output
	copied  chan struct{} // closed when both outputs have ended
	over    chan struct{} // closed when the channel's requests have ended: nothing more will be told

	ended  chan struct{} // closed when the exit status is there: what follows is set then
	exited bool
	exit   int
	signal string
}

// heldFor is how long the end of the output is waited for, without output, once the command has ended.
const heldFor = time.Second

// command runs the request at a place, which it gives back, and finishes the record. With retry it asks for another place,
// again, where the device has refused the session and others run there.
func (r *Runner) command(ctx context.Context, req *runner.Request, s *settings, p *place, rec *runner.Record, live runner.Live, retry bool) (again bool) {
	rec.Enter(runner.StageStart)
	channel, requests, err := p.conn.open(ctx, s.timeout(req))
	if refused, ok := errors.AsType[*ssh.OpenChannelError](err); ok && retry {
		alone := p.alone()
		p.leave(true)
		if !alone {
			return true
		}
		// The device may not have noticed yet that the session before has ended.
		select {
		case <-time.After(refusedPause):
			return true
		case <-ctx.Done():
		}
		rec.Fail(runner.ReasonRefused, fmt.Errorf("the device refuses the session: %s", orText(refused.Message, refused.Reason.String())))
		return false
	}
	defer p.leave(false)
	if err != nil {
		f := p.conn.startFailure(ctx, s.timeout(req), err)
		rec.Fail(f.reason, f.err)
		return false
	}
	c := &session{work: &r.work, channel: channel, out: runner.NewOutput(req, r.budget, live), copied: make(chan struct{}), over: make(chan struct{}), ended: make(chan struct{})}
	r.work.Go(func() { c.listen(requests) })
	if f := c.start(ctx, req, s.timeout(req), p.conn); f != nil {
		c.close()
		rec.Fail(f.reason, f.err)
		return false
	}
	rec.Enter(runner.StageRun)
	c.copy(req.Stdin)
	f := c.supervise(ctx, req, p.conn)
	if f != nil {
		c.stop(min(orDefault(req.Grace, r.config.Grace), maxGrace), r.ended)
	} else {
		rec.Enter(runner.StageRead)
	}
	held, answered := c.finish()
	if !answered {
		p.conn.distrust()
	}
	c.out.Into(rec)
	if c.told() {
		rec.Exited, rec.Exit, rec.Signal = c.exited, c.exit, c.signal
	}
	if held && f == nil {
		rec.Detail = []byte(`{"output_held":true}`)
	}
	if f != nil {
		rec.Fail(f.reason, f.err)
		return false
	}
	rec.End()
	return false
}

// refusedPause is how long to wait before a session is asked for again.
const refusedPause = 50 * time.Millisecond

// maxGrace is the longest grace that a request can ask for.
const maxGrace = 30 * time.Second

// open opens a channel for a session. The library has no limit for it: it waits on a goroutine that ends with the answer or
// the connection.
func (c *connection) open(ctx context.Context, timeout time.Duration) (ssh.Channel, <-chan *ssh.Request, error) {
	type result struct {
		channel  ssh.Channel
		requests <-chan *ssh.Request
		err      error
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer := make(chan result)
	c.device.runner.work.Go(func() {
		channel, requests, err := c.client.OpenChannel("session", nil)
		select {
		case answer <- result{channel, requests, err}:
		case <-limited.Done(): // nobody waits any more
			if err == nil {
				c.device.runner.work.Go(func() { ssh.DiscardRequests(requests) }) // ends with the channel
				_ = channel.Close()
			}
		}
	})
	select {
	case r := <-answer:
		return r.channel, r.requests, r.err
	case <-limited.Done():
		return nil, nil, limited.Err()
	}
}

// startFailure says why a command was not started.
func (c *connection) startFailure(ctx context.Context, timeout time.Duration, err error) *failure {
	refused, isRefused := errors.AsType[*ssh.OpenChannelError](err)
	switch {
	case ctx.Err() != nil:
		c.distrust()
		return ended(ctx)
	case isRefused:
		return &failure{reason: runner.ReasonRefused, err: fmt.Errorf("the device refuses the session: %s", orText(refused.Message, refused.Reason.String()))}
	case errors.Is(err, context.DeadlineExceeded):
		c.close() // it answers nothing: whoever comes next makes another
		return &failure{reason: runner.ReasonTimeout, err: fmt.Errorf("no session for %v, the limit", timeout)}
	}
	return &failure{reason: runner.ReasonLost, err: errClosedByDevice}
}

// start asks for the command.
func (c *session) start(ctx context.Context, req *runner.Request, timeout time.Duration, conn *connection) *failure {
	answer := make(chan *failure, 1)
	c.work.Go(func() { answer <- c.ask(req) }) // ends with the answers or the channel
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	select {
	case f := <-answer:
		return f
	case <-ctx.Done():
		conn.distrust()
		return ended(ctx)
	case <-limit.C:
		conn.close()
		return &failure{reason: runner.ReasonTimeout, err: fmt.Errorf("the command is not answered for %v, the limit", timeout)}
	}
}

// ask sends the environment and the command, and waits for the answers.
func (c *session) ask(req *runner.Request) *failure {
	for _, e := range req.Env {
		name, value, _ := strings.Cut(e, "=")
		ok, err := c.channel.SendRequest("env", true, ssh.Marshal(struct{ Name, Value string }{name, value}))
		if err != nil {
			return &failure{reason: runner.ReasonLost, err: errClosedByDevice}
		}
		if !ok {
			return &failure{reason: runner.ReasonFailed, err: fmt.Errorf("the device does not take the variable %s (AcceptEnv of its sshd_config)", name)}
		}
	}
	ok, err := c.channel.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{req.CommandText()}))
	if err != nil {
		return &failure{reason: runner.ReasonLost, err: errClosedByDevice}
	}
	if !ok {
		return &failure{reason: runner.ReasonRefused, err: errors.New("the device refuses to run commands")}
	}
	return nil
}

// listen takes what the device tells about the command.
func (c *session) listen(requests <-chan *ssh.Request) {
	defer close(c.over)
	for r := range requests {
		told := false
		switch r.Type {
		case "exit-status":
			var status struct{ Status uint32 }
			if told = ssh.Unmarshal(r.Payload, &status) == nil && !c.told(); told {
				c.exited, c.exit = true, int(status.Status)
			}
		case "exit-signal":
			var end struct {
				Signal     string
				CoreDumped bool
				Error      string
				Language   string
			}
			if told = ssh.Unmarshal(r.Payload, &end) == nil && !c.told(); told {
				c.signal = end.Signal
			}
		}
		if told {
			close(c.ended)
		}
		if r.WantReply {
			_ = r.Reply(false, nil)
		}
	}
}

// told reports whether the end of the command is known already.
func (c *session) told() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// copy begins to carry what the command reads and writes. The goroutines end with the channel.
func (c *session) copy(stdin []byte) {
	c.work.Go(func() {
		if len(stdin) > 0 {
			_, _ = c.channel.Write(stdin)
		}
		_ = c.channel.CloseWrite()
	})
	c.work.Go(func() {
		var outputs sync.WaitGroup
		outputs.Go(func() { c.read(c.channel, runner.Stdout) })
		outputs.Go(func() { c.read(c.channel.Stderr(), runner.Stderr) })
		outputs.Wait()
		close(c.copied)
	})
}

// close closes the channel, without waiting for a connection that hangs.
func (c *session) close() { c.work.Go(func() { _ = c.channel.Close() }) }

// pieces are the buffers that outputs are read into.
var pieces = sync.Pool{New: func() any { return new([32 << 10]byte) }}

func (c *session) read(from io.Reader, stream runner.Stream) {
	piece := pieces.Get().(*[32 << 10]byte)
	defer pieces.Put(piece)
	for {
		n, err := from.Read(piece[:])
		if n > 0 {
			c.out.Take(stream, piece[:n])
		}
		if err != nil {
			return
		}
	}
}

// supervise waits for the end of the command. A failure is why it is to be ended, or that it is lost.
func (c *session) supervise(ctx context.Context, req *runner.Request, conn *connection) *failure {
	var silence <-chan time.Time
	var quiet *time.Timer
	if req.Silence > 0 {
		quiet = time.NewTimer(req.Silence)
		defer quiet.Stop()
		silence = quiet.C
	}
	for {
		select {
		case <-c.ended:
			return nil
		case <-c.over:
			if c.told() {
				return nil
			}
			select { // the end of the channel may be the first that is seen of the connection's
			case <-conn.done:
				return &failure{reason: runner.ReasonLost, err: errors.New("the connection ended while the command ran")}
			case <-time.After(100 * time.Millisecond):
				return &failure{reason: runner.ReasonLost, err: errors.New("the device ended the session without an exit status")}
			}
		case <-ctx.Done():
			return ended(ctx)
		case <-silence:
			if left := req.Silence - c.out.Quiet(); left > 0 {
				quiet.Reset(left)
				continue
			}
			return &failure{reason: runner.ReasonSilence, err: fmt.Errorf("ended after %v without output, the limit", req.Silence)}
		}
	}
}

// stop ends a command that has not ended: TERM, then KILL after the grace. A device that does not answer to these gets the
// closed channel alone.
func (c *session) stop(grace time.Duration, closing context.Context) {
	for _, name := range []string{"TERM", "KILL"} {
		sent := make(chan struct{})
		c.work.Go(func() { // ends with the write, or the connection
			_, _ = c.channel.SendRequest("signal", false, ssh.Marshal(struct{ Signal string }{name}))
			close(sent)
		})
		wait := time.NewTimer(grace)
		select {
		case <-c.ended:
		case <-c.over:
		case <-wait.C:
		case <-closing.Done():
			select { // at least the signal leaves, if it can
			case <-sent:
			case <-c.over:
			case <-wait.C:
			}
		}
		wait.Stop()
		if c.told() {
			return
		}
		grace = min(grace, killGrace)
	}
}

// killGrace is how long the end after KILL is waited for.
const killGrace = time.Second

// finish reads the output to its end and closes the channel. Held is that the end did not come: something that the command
// has left behind holds the output open. Answered is that the device has taken notice.
func (c *session) finish() (held, answered bool) {
	pause := time.NewTimer(heldFor)
	defer pause.Stop()
	if !c.told() {
		pause.Reset(0) // it was ended, or is lost: what has come is there
	}
wait:
	for {
		select {
		case <-c.copied:
			break wait
		case <-pause.C:
			if left := heldFor - c.out.Quiet(); left > 0 && c.told() {
				pause.Reset(left)
				continue
			}
			held = true
			break wait
		}
	}
	c.close()
	select { // the device answers with its own close: until then the readers get what is on the way
	case <-c.copied:
		return held, true
	case <-time.After(killGrace):
		return held, false
	}
}
