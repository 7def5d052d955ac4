package main

import (
	"fmt"
	"os"

	"golang.org/x/term"

	"shoal/netio/runner/sshrun"
)

// maxAsked bounds the targets whose ssh_config is looked at for locked keys.
const maxAsked = 10_000

// unlock asks for the passphrases of the keys of targets, one after the other, each once, before anything starts. Where there
// is no terminal to ask at, it says so of each key: an agent may hold it.
func unlock(p *process, devices *sshrun.Runner, hosts []string) error {
	locked := devices.Locked(hosts...)
	if len(locked) == 0 {
		return nil
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		for _, file := range locked {
			fmt.Fprintf(p.stderr, "shoal: %s has a passphrase and there is no terminal to ask for it: the key is used only where the agent has it\n", file)
		}
		return nil
	}
	defer tty.Close()
	for _, file := range locked {
		if err := unlockOne(p, tty, devices, file); err != nil {
			return err
		}
	}
	return nil
}

// unlockOne asks up to three times. Nothing is asked with an empty answer: the key is not used then.
func unlockOne(p *process, tty *os.File, devices *sshrun.Runner, file string) error {
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		return nil
	}
	for range 3 {
		fmt.Fprintf(tty, "Passphrase for %s (empty: do not use it): ", file)
		answer := make(chan []byte, 1)
		go func() { // ends with the answer, or with the terminal
			text, _ := term.ReadPassword(int(tty.Fd()))
			answer <- text
		}()
		select {
		case text := <-answer:
			fmt.Fprintln(tty)
			if len(text) == 0 || devices.Unlock(file, text) == nil {
				clear(text)
				return nil
			}
			clear(text)
		case <-p.ctx.Done():
			_ = term.Restore(int(tty.Fd()), before)
			fmt.Fprintln(tty)
			return p.interrupted()
		}
	}
	return usage("%s: three passphrases were wrong", file)
}
