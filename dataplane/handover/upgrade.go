package handover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// DefaultPatience is how long a new process may take to become ready. It is below the lease of 30 s for which a control
// plane keeps an endpoint whose proxy is not connected.
const DefaultPatience = 20 * time.Second

// Options are what a successor is started from.
type Options struct {
	// Program is the file to execute, as it is now. Args are without its name, Environ as os.Environ has it.
	Program string
	Args    []string
	Environ []string
	// Stdout and Stderr of the new process; nil is none.
	Stdout, Stderr *os.File

	Sockets  *Sockets
	Instance string
	Patience time.Duration // 0: DefaultPatience
}

// Successor is a new process that is ready and waits for the word.
type Successor struct {
	// Version is what the new process calls itself.
	Version string

	cmd     *exec.Cmd
	control net.Conn
	lines   chan string   // what it says; closed at its end
	ended   chan struct{} // closed when the process is gone; cmd.ProcessState says how
}

// Start executes the program and waits until it is ready. With an error it is gone, it has accepted no connection, and
// nothing has changed.
func Start(ctx context.Context, o Options) (*Successor, error) {
	if o.Patience <= 0 {
		o.Patience = DefaultPatience
	}
	s, err := launch(o)
	if err != nil {
		return nil, err
	}
	if err := s.awaitReady(ctx, o.Patience); err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
}

// launch starts the process. Nothing but the sockets, and one for the two to talk, goes over.
func launch(o Options) (*Successor, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	files, names, err := o.Sockets.files(firstFD + 1)
	if err != nil {
		_ = ours.Close()
		return nil, err
	}
	defer closeAll(files)
	environ, err := letter{Format: format, Control: firstFD, Instance: o.Instance, Sockets: names}.environ(o.Environ)
	if err != nil {
		_ = ours.Close()
		return nil, err
	}
	cmd := exec.Command(o.Program, o.Args...)
	cmd.Env = environ
	cmd.ExtraFiles = append([]*os.File{theirs}, files...)
	if o.Stdout != nil {
		cmd.Stdout = o.Stdout
	}
	if o.Stderr != nil {
		cmd.Stderr = o.Stderr
	}
	if err := cmd.Start(); err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("the new process could not be started: %w", err)
	}
	s := &Successor{cmd: cmd, control: ours, lines: make(chan string), ended: make(chan struct{})}
	go s.listen()
	go func() {
		_ = cmd.Wait() // ProcessState has it
		close(s.ended)
	}()
	return s, nil
}

// pair is a connected pair of sockets, of which only the second is for another process.
func pair() (ours net.Conn, theirs *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	mine := os.NewFile(uintptr(fds[0]), "handover")
	defer mine.Close()
	theirs = os.NewFile(uintptr(fds[1]), "handover")
	if ours, err = net.FileConn(mine); err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// listen moves what the new process says to a channel, until one of the two has had enough.
func (s *Successor) listen() {
	defer close(s.lines)
	read := bufio.NewScanner(s.control)
	read.Buffer(make([]byte, maxLine), maxLine)
	for read.Scan() {
		select {
		case s.lines <- read.Text():
		case <-s.ended:
			return
		}
	}
}

// awaitReady follows what the new process says of itself. Its last word is the reason if the time runs out.
func (s *Successor) awaitReady(ctx context.Context, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	last := "it has not said a word: is it a program of this kind?"
	for {
		select {
		case text, open := <-s.lines:
			if !open {
				return s.endedEarly("")
			}
			switch word, rest := words(text); word {
			case wordReady:
				s.Version = rest
				return nil
			case wordWaiting:
				last = rest
			case wordFailed:
				return s.endedEarly(rest)
			}
		case <-timer.C:
			return fmt.Errorf("the new process (%d) was not ready within %v: %s", s.PID(), patience, last)
		case <-ctx.Done():
			return fmt.Errorf("the new process (%d) was given up: %w", s.PID(), context.Cause(ctx))
		}
	}
}

// exitWithin is how long a process that has closed its end may take to be gone.
const exitWithin = 5 * time.Second

// endedEarly says how the new process ended.
func (s *Successor) endedEarly(reason string) error {
	select {
	case <-s.ended:
	case <-time.After(exitWithin):
		if reason == "" {
			reason = "it has closed the socket that it was given and goes on"
		}
		return fmt.Errorf("the new process (%d) is not ready: %s", s.PID(), reason)
	}
	if reason == "" {
		reason = "its log has the reason"
	}
	return fmt.Errorf("the new process (%d) ended before it was ready (%v): %s", s.PID(), s.cmd.ProcessState, reason)
}

// PID is the new process's.
func (s *Successor) PID() int { return s.cmd.Process.Pid }

// Go gives the word: the new process accepts from now on, and the caller stops and drains. With an error the new process is
// gone, and the caller goes on as before.
func (s *Successor) Go() error {
	if _, err := s.control.Write(line(wordGo, "")); err != nil {
		s.abandon()
		if gone(err) {
			err = errors.New("it has ended")
		}
		return fmt.Errorf("the new process (%d) was ready, but does not listen any more: %w", s.PID(), err)
	}
	s.hangUp()
	return nil
}

// abandon ends the new process at once: it has accepted nothing.
func (s *Successor) abandon() {
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.hangUp()
}

func (s *Successor) hangUp() {
	_ = s.control.Close()
	for range s.lines { // until listen has ended
	}
}
