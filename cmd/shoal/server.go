package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"shoal/cmd/internal/demo"
	"shoal/netio"
	"shoal/netio/files"
	"shoal/netio/runner/probe"
	"shoal/netio/table"
	"shoal/netio/target"
	"shoal/netio/trust"
)

// serverCommand is `shoal server`.
type serverCommand struct {
	Table           string   `help:"Serve the subroutine 'table' from this file of host:command:response:seconds lines; SIGHUP reads it again." placeholder:"FILE"`
	AllowDuplicates bool     `help:"In a table with a key twice, take the later line instead of refusing the file."`
	Demo            bool     `help:"Serve the subroutines of the examples: hello, square, sensor, store, echo and others; see 'shoal client list'."`
	Root            string   `help:"Offer this folder: clients may list and get what is in it." placeholder:"DIR"`
	Writable        bool     `help:"Clients may also put files into the folder, and remove files from it."`
	Fsync           string   `help:"What must be on the disk before a file that was put takes its place, at least: ${enum}." enum:"none,files,all" default:"none"`
	Probe           bool     `help:"Offer scans: 'shoal client scan' finds out from here which addresses and ports answer."`
	ProbeAllow      []string `help:"With --probe: addresses that may be probed, such as 10.0.0.0/8,192.168.7.1-192.168.7.9; may be repeated. Default: all." placeholder:"ADDRESSES" sep:"none"`
	serverRunners
	serverTrust    `embed:""`
	Listen         []string      `help:"Address to listen on, tcp://host:port (port 0: any free one), tls://host:port or unix:///path; may be repeated. Default: ${default_url}." placeholder:"URL" sep:"none"`
	Workers        int           `help:"Tasks that may run or wait at once." default:"1024"`
	MaxHandlers    int           `help:"Connections at once; further ones are refused as full. Default: what the descriptor limit allows." placeholder:"N"`
	Window         int           `help:"Unanswered tasks of one connection." default:"65536"`
	DrainTimeout   time.Duration `help:"How long running tasks may take to finish after an interrupt." default:"30s"`
	SessionTimeout time.Duration `help:"How long a lost connection's tasks wait for it to come back." default:"60s"`
	IdleTimeout    time.Duration `help:"Close a connection that is silent for so long." default:"60s"`
	Compress       string        `help:"Compress what is sent where it shrinks: ${enum}." enum:"none,s2,zstd" default:"none"`
	AllowStop      bool          `help:"Let clients stop the gateway ('shoal client stop')."`
	ReadyFile      string        `help:"Write the addresses to this file, a URL a line, once the gateway serves." placeholder:"FILE"`
	LogLevel       string        `help:"Log from this level up: ${enum}." enum:"debug,info,warn,error" default:"info"`
	LogFormat      string        `help:"How log lines look: ${enum}." enum:"text,json" default:"text"`
}

// Help is what --help adds.
func (c *serverCommand) Help() string {
	return `Examples:
  shoal server --table testdata/table.txt
  shoal server --demo
  shoal server --ssh --exec --probe                 # for 'shoal client exec' and 'shoal client scan'
  shoal server --listen tcp://127.0.0.1:0 --listen unix:///tmp/shoal.sock --ready-file /tmp/shoal.ready

The first interrupt (Ctrl+C) drains: new tasks are refused, running ones finish and are answered. A second one cuts it short; the exit status is 4 then, as after --drain-timeout. SIGHUP
reads the table and the files of trust again (these also when they change); without either it ends the server, as does the end of its terminal.`
}

// Run serves until an interrupt, or until a client stops the gateway.
func (c *serverCommand) Run(p *process) error {
	if c.Root == "" && c.Writable {
		return usage("--writable says nothing without --root DIR")
	}
	if c.Workers < 1 || c.Window < 1 || c.MaxHandlers < 0 {
		return usage("--workers and --window have to be at least 1, --max-handlers at least 0")
	}
	if c.DrainTimeout < 0 || c.SessionTimeout <= 0 || c.IdleTimeout <= 0 {
		return usage("--drain-timeout, --session-timeout and --idle-timeout have to be positive durations like 30s")
	}
	allowed, err := c.probeAllowed()
	if err != nil {
		return err
	}
	log := newLogger(p.stderr, c.LogLevel, c.LogFormat)
	gate, err := c.gate(c.Listen, log)
	if err != nil {
		return err
	}
	config := netio.GatewayConfig{
		Listen: c.addresses(c.Listen), Workers: c.Workers, MaxHandlers: c.MaxHandlers, Window: c.Window,
		SessionTimeout: c.SessionTimeout, IdleTimeout: c.IdleTimeout, Compress: compressions[c.Compress],
		AllowStop: c.AllowStop, Logger: log,
	}
	if gate != nil {
		gate.Configure(&config)
	}
	gw := netio.NewGateway(config)
	var answers *table.Table
	if c.Table != "" {
		entries, err := readTable(c.Table, c.AllowDuplicates)
		if err != nil {
			return err
		}
		answers = table.New(entries)
		registerTable(gw, answers)
		log.Info("table read", "file", c.Table, "entries", len(entries))
	}
	if c.Demo {
		remove, err := demo.Register(gw)
		if err != nil {
			return fmt.Errorf("the demo's folder: %w", err)
		}
		defer func() {
			if err := remove(); err != nil {
				log.Warn("the demo's folder stays behind", "error", err)
			}
		}()
	}
	if c.Root != "" {
		offered, err := files.Serve(gw, files.ServerConfig{Root: c.Root, Writable: c.Writable, Fsync: fsyncLevel(c.Fsync), Logger: log})
		if err != nil {
			return usage("--root: %w", err)
		}
		defer offered.Close()
	}
	var scans *probe.Server
	if c.Probe {
		scans = probe.Serve(gw, probe.ServerConfig{Allow: allowed})
	}
	offered, err := c.offer(gw, gate, log)
	if err != nil {
		return err
	}
	defer func() { // the gateway has ended
		if err := offered.end(); err != nil {
			log.Warn("runners have left something behind", "error", err)
		}
	}()
	drain, cutShort := context.WithCancel(context.Background())
	defer cutShort()
	hurry := func() { cutShort() }
	p.interrupt.hurry.Store(&hurry)
	reload := make(chan os.Signal, 1)
	if p.interrupt.reloads {
		signal.Notify(reload, syscall.SIGHUP) // before anybody can know that we are here
		defer signal.Stop(reload)
	}
	if err := gw.Start(); err != nil {
		return usage("%w", err)
	}
	if answers == nil && !c.Demo && !c.Probe && !c.Exec && !c.SSH && c.Root == "" {
		log.Warn("there is nothing to call: give --table FILE, --root DIR, --ssh, --exec, --probe or --demo")
	}
	if c.ReadyFile != "" {
		if err := writeWhole(c.ReadyFile, strings.Join(gw.URLs(), "\n")+"\n"); err != nil {
			_ = gw.Close()
			return usage("ready file: %w", err)
		}
		defer os.Remove(c.ReadyFile)
	}
	if gate != nil {
		watching, stop := context.WithCancel(p.ctx)
		watched := make(chan struct{})
		go func() {
			gate.Watch(watching, gw)
			close(watched)
		}()
		defer func() { stop(); <-watched }()
	}
	c.serve(p.ctx, gw, gate, answers, reload, log)
	if scans != nil {
		scans.Stop() // they may take hours; their clients go on elsewhere
	}
	drain, cancel := context.WithTimeout(drain, c.DrainTimeout)
	defer cancel()
	if err := gw.Shutdown(drain); err != nil {
		log.Warn("stopped before all was done", "error", err)
		return &exitError{status: exitUnknown}
	}
	return nil
}

// probeAllowed evaluates which addresses may be probed; the empty set stands for all.
func (c *serverCommand) probeAllowed() (target.Set, error) {
	if len(c.ProbeAllow) > 0 && !c.Probe {
		return target.Set{}, usage("--probe-allow says nothing without --probe")
	}
	allowed, err := target.Parse(strings.Join(c.ProbeAllow, ","))
	if err != nil {
		return allowed, usage("--probe-allow: %w", err)
	}
	if len(c.ProbeAllow) > 0 && allowed.Len() == 0 {
		return allowed, usage("--probe-allow: no address is left")
	}
	return allowed, nil
}

// serve waits for the end, and reads the table and the files of trust again at each signal to reload.
func (c *serverCommand) serve(ctx context.Context, gw *netio.Gateway, gate *trust.Gate, answers *table.Table, reload <-chan os.Signal, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-gw.StopRequested():
			return
		case <-reload:
			if gate != nil {
				if err := gate.Reload(gw); err != nil {
					log.Error("trust not read again; the old stays", "error", err)
				}
			}
			if answers == nil {
				continue
			}
			entries, err := readTable(c.Table, c.AllowDuplicates)
			if err != nil {
				log.Error("table not read again; the old one stays", "file", c.Table, "error", err)
				continue
			}
			answers.Swap(entries)
			log.Info("table read again", "file", c.Table, "entries", len(entries))
		}
	}
}

// tableSubroutine is the name under which a table is served.
const tableSubroutine = "table"

func registerTable(gw *netio.Gateway, answers *table.Table) {
	gw.HandleBatch(tableSubroutine, answers.Run)
	gw.Describe(tableSubroutine, "look a task up, wait as long as the table says, answer what it says")
}

func readTable(name string, allowDuplicates bool) (map[string]table.Entry, error) {
	f, err := openInput(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return table.Parse(f.Name(), f, table.Options{AllowDuplicates: allowDuplicates})
}

// writeWhole writes a file so that nobody sees half of it.
func writeWhole(name, text string) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func newLogger(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // kong has checked it
	options := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// compressions are the values of --compress, beside auto.
var compressions = map[string]netio.Compression{"none": netio.CompressNone, "s2": netio.CompressS2, "zstd": netio.CompressZstd}

// fsyncLevel is what the library calls it.
func fsyncLevel(name string) files.Fsync {
	if name == "none" {
		return files.FsyncNone
	}
	return files.Fsync(name)
}
