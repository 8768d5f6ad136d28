package demo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopWithin is how long children have between SIGTERM and SIGKILL.
const stopWithin = 5 * time.Second

// children are the processes of the demo. None outlives the demo, however that ends: each has the kernel kill it when its
// parent dies.
type children struct {
	dir    string // of log files
	forks  chan func()
	closed chan struct{}
	died   chan *child // those that ended before stop

	mu       sync.Mutex // guards below
	all      []*child
	stopping bool
}

type child struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
	err  error         // valid then
}

// newChildren starts the thread that forks. Pdeathsig is bound to the thread that has forked, not to the process: were that
// thread to end, as Go's threads may, the children would die with it. So one locked thread forks them all and lives until
// the demo is over.
func newChildren(dir string) *children {
	c := &children{dir: dir, forks: make(chan func()), closed: make(chan struct{}), died: make(chan *child, 64)}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for {
			select {
			case fork := <-c.forks:
				fork()
			case <-c.closed:
				return
			}
		}
	}()
	return c
}

// start runs the program with args; its output goes to a file.
func (c *children) start(name, program string, args ...string) (*child, error) {
	ch := &child{name: name, log: filepath.Join(c.dir, name+".log"), done: make(chan struct{})}
	out, err := os.OpenFile(ch.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", name, err)
	}
	defer out.Close() // the child has its own copy
	ch.cmd = exec.Command(program, args...)
	ch.cmd.Stdout, ch.cmd.Stderr = out, out
	// A group of its own keeps the terminal's Ctrl-C from the children: the demo stops them in order.
	ch.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	c.forks <- func() { started <- ch.cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c.mu.Lock()
	c.all = append(c.all, ch)
	c.mu.Unlock()
	go func() {
		ch.err = ch.cmd.Wait()
		c.mu.Lock()
		early := !c.stopping
		c.mu.Unlock()
		close(ch.done)
		if early {
			c.died <- ch
		}
	}()
	return ch, nil
}

// stop ends all children and waits for them: the control plane, which was started first, after all others, so that
// proxies can take their leave.
func (c *children) stop() {
	c.mu.Lock()
	c.stopping = true
	all := c.all
	c.mu.Unlock()
	if len(all) > 0 {
		end(all[1:])
		end(all[:1])
	}
	close(c.closed)
}

func end(all []*child) {
	for _, ch := range all {
		ch.signal(syscall.SIGTERM)
	}
	late := time.After(stopWithin)
	for _, ch := range all {
		select {
		case <-ch.done:
		case <-late:
			for _, ch := range all {
				ch.signal(syscall.SIGKILL)
			}
			<-ch.done
		}
	}
}

// signal reaches the child and all that it has started.
func (ch *child) signal(s syscall.Signal) {
	select {
	case <-ch.done: // its number may be somebody else's by now
	default:
		syscall.Kill(-ch.cmd.Process.Pid, s)
	}
}

// obituary is the error of a child that should not have ended.
func (ch *child) obituary() error {
	how := "ended by itself"
	if ch.err != nil {
		how = "ended: " + ch.err.Error()
	}
	return fmt.Errorf("%s %s\n%s", ch.name, how, indent(lastLines(ch.log, 12)))
}

// logOf is where a child writes.
func (c *children) logOf(name string) string { return filepath.Join(c.dir, name+".log") }

// lastLines reads the end of a file.
func lastLines(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimRight(text, "\n"), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}

func indent(s string) string { return "  | " + strings.ReplaceAll(s, "\n", "\n  | ") }

// run executes a client verb to its end and returns its standard output.
func (c *children) run(ctx context.Context, program string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	done := make(chan error, 1)
	c.forks <- func() { done <- cmd.Start() }
	if err := <-done; err != nil {
		return "", fmt.Errorf("hauberk %s: %w", args[0], err)
	}
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("hauberk %s: %w\n%s", strings.Join(args[:min(2, len(args))], " "), err, indent(strings.TrimSpace(errs.String())))
	}
	return out.String(), nil
}
