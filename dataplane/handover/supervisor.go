package handover

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/hauberk-mesh/hauberk/internal/atomicfile"
)

// Supervisor is whoever started this process and has to learn that another one goes on in its place: systemd, by its
// notification socket (sd_notify(3)), or anybody who reads a file with a process id. The zero value tells nobody.
type Supervisor struct {
	// Socket is $NOTIFY_SOCKET: a path, or an abstract name with a leading "@".
	Socket string
	// PIDFile holds the id of the process that serves.
	PIDFile string
}

// Ready tells that this process serves.
func (s Supervisor) Ready() error { return s.notify("READY=1", "MAINPID="+strconv.Itoa(os.Getpid())) }

// Successor tells that the process with this id is the one to watch. It must come from the old one: systemd listens to the
// main process, which the new one becomes by this.
func (s Supervisor) Successor(pid int) error { return s.notify("MAINPID=" + strconv.Itoa(pid)) }

// Stopping tells that this process drains and will end.
func (s Supervisor) Stopping() error { return s.notify("STOPPING=1") }

func (s Supervisor) notify(lines ...string) error {
	if s.Socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.Socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("$NOTIFY_SOCKET: %w", err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("$NOTIFY_SOCKET: %w", err)
	}
	return nil
}

// WritePID writes this process's id.
func (s Supervisor) WritePID() error {
	if s.PIDFile == "" {
		return nil
	}
	if err := atomicfile.Write(s.PIDFile, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}

// RemovePID removes the file, unless it is another process's by now.
func (s Supervisor) RemovePID() error {
	if s.PIDFile == "" {
		return nil
	}
	text, err := os.ReadFile(s.PIDFile)
	if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(text)) != strconv.Itoa(os.Getpid()) {
		return nil
	}
	if err == nil {
		err = os.Remove(s.PIDFile)
	}
	if err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}
