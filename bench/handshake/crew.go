package handshake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The parts of a measurement that are processes of their own.
const (
	serverPart = "server"
	clientPart = "client"
)

// Part is the whole of a process that Run has started. It ends when its input does, which it does when Run's process ends in
// whatever way.
func Part(ctx context.Context, name string, in io.Reader, out io.Writer) error {
	talk := &talk{json.NewDecoder(in), json.NewEncoder(out)}
	var err error
	switch name {
	case serverPart:
		err = serve(ctx, talk)
	case clientPart:
		err = generate(talk)
	default:
		return fmt.Errorf("there is no part %q: only %s and %s", name, serverPart, clientPart)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// talk is a part's side of the conversation: one answer for each command.
type talk struct {
	*json.Decoder
	*json.Encoder
}

// crew are the processes of one measurement, and the cores that they have.
type crew struct {
	command, env []string
	parts        []*part
	forks        chan func()

	servers, clients unix.CPUSet
	core             int // that of the servers; -1: the kernel would not have it
}

// newCrew starts the thread that forks. A process is killed when the thread that has forked it ends (Pdeathsig), and begins
// on that thread's cores. So one thread forks all, and ends with the measurement: no other goroutine ever runs on it.
func newCrew(command, env []string) *crew {
	c := &crew{command: command, env: env, forks: make(chan func()), core: -1}
	c.divide()
	go func() {
		runtime.LockOSThread() // and never unlocked
		for fork := range c.forks {
			fork()
		}
	}()
	return c
}

// divide gives the servers the first core that we may use and the clients the others, if there are any.
func (c *crew) divide() {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil || all.Count() == 0 {
		return
	}
	for c.core = 0; !all.IsSet(c.core); c.core++ {
	}
	c.servers.Set(c.core)
	c.clients = all
	if all.Count() > 1 {
		c.clients.Clear(c.core)
	}
}

// apart tells whether server and clients have cores of their own.
func (c *crew) apart() bool { return c.core >= 0 && !c.clients.IsSet(c.core) }

// part is one process and the conversation with it.
type part struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	talk
	said bytes.Buffer // on its standard error
}

// start runs this program again as the named part.
func (c *crew) start(ctx context.Context, name string, on unix.CPUSet) (*part, error) {
	p := &part{name: name}
	p.cmd = exec.CommandContext(ctx, c.command[0], append(slices.Clone(c.command[1:]), name)...)
	p.cmd.Env = append(os.Environ(), c.env...)
	if name == clientPart {
		p.cmd.Env = append(p.cmd.Env, "GOGC=800") // it must not be what limits
	}
	p.cmd.Stderr = &p.said
	// A group of its own keeps the terminal's Ctrl-C from it: it ends by its input, and if not, soon after by force.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = 2 * time.Second
	in, err1 := p.cmd.StdinPipe()
	out, err2 := p.cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	p.in, p.talk = in, talk{json.NewDecoder(out), json.NewEncoder(in)}
	p.cmd.Cancel = in.Close
	started := make(chan error)
	c.forks <- func() {
		if on.Count() > 0 && unix.SchedSetaffinity(0, &on) != nil {
			c.core = -1 // it runs anyway, and the report says where
		}
		started <- p.cmd.Start()
	}
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%s of the benchmark: %w", name, err)
	}
	c.parts = append(c.parts, p)
	return p, nil
}

// ask sends a command and waits for the answer.
func (p *part) ask(command, answer any) error {
	err := p.Encode(command)
	if err == nil {
		err = p.Decode(answer)
	}
	if err == nil {
		return nil
	}
	if failed := p.end(); failed != nil {
		err = failed
	}
	return fmt.Errorf("%s of the benchmark: %w\n%s", p.name, err, strings.TrimSpace(p.said.String()))
}

// end has the process end and waits for it.
func (p *part) end() error {
	_ = p.in.Close()
	late := time.AfterFunc(p.cmd.WaitDelay, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	return p.cmd.Wait()
}

// end ends all that have not ended yet.
func (c *crew) end() {
	for _, p := range c.parts {
		_ = p.end()
	}
	close(c.forks)
}
