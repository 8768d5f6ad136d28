// Package handover lets a new process of a proxy take over from a running one, so that a binary is replaced without a
// connection refused or lost: the new one is given the listening sockets, says when it is ready, and only then does the old
// one stop accepting. Both have the same sockets, so that what the kernel has queued is nobody's loss.
//
// It knows neither proxies nor configurations, and it drains nothing: whoever runs a proxy (package cli) puts the two
// together. The steps, the old process left, the new one right:
//
//	Start: fork, exec        ->  Inherit: sockets by address
//	                         <-  TakeOver: "waiting <reason>", ..., "ready"
//	Successor.Go: "go"       ->  TakeOver returns, inherited sockets begin to accept
//	Sockets.Release, drain
//
// Whatever goes wrong before "go" ends the new process, which has accepted nothing, and the old one is as it was. If the old
// one dies first, the new one sees the end of their common socket and takes over at once.
//
// Start at Start for the old side, at Inherit for the new one.
package handover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Variable is the environment variable in which a process finds what its predecessor left it.
const Variable = "HAUBERK_HANDOVER"

// format is raised when an older program could misread what a newer one writes. Two programs that do not agree do not hand
// over: the new one says so and ends, the old one goes on.
const format = 1

// letter is the variable's value, in JSON. File descriptors are numbers in the new process.
type letter struct {
	Format   int      `json:"format"`
	Control  int      `json:"control"`            // the socket on which the two talk
	Instance string   `json:"instance,omitempty"` // see Predecessor.Instance
	Sockets  []legacy `json:"sockets"`
}

// legacy is one listening socket, under the address that it was asked for by.
type legacy struct {
	Network string `json:"network"`
	Address string `json:"address"`
	FD      int    `json:"fd"`
}

// firstFD is the first that is ours to give: exec hands on 0 to 2, and ExtraFiles behind them.
const firstFD = 3

func readLetter(text string) (letter, error) {
	var l letter
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return l, fmt.Errorf("$%s: %w: it is set by a proxy that hands over, and by nobody else", Variable, err)
	}
	if l.Format != format {
		return l, fmt.Errorf("$%s has format %d, and this program knows %d: stop the old process and start this one", Variable, l.Format, format)
	}
	seen := map[int]bool{}
	for _, fd := range append([]int{l.Control}, fds(l.Sockets)...) {
		if fd < firstFD || seen[fd] {
			return l, fmt.Errorf("$%s: file descriptor %d is given twice or below %d", Variable, fd, firstFD)
		}
		seen[fd] = true
	}
	return l, nil
}

func fds(all []legacy) []int {
	out := make([]int, 0, len(all))
	for _, s := range all {
		out = append(out, s.FD)
	}
	return out
}

func (l letter) environ(before []string) ([]string, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, v := range before {
		if !strings.HasPrefix(v, Variable+"=") {
			out = append(out, v)
		}
	}
	return append(out, Variable+"="+string(text)), nil
}

// The words that the two say to each other, a line each. What follows a word is for people.
const (
	wordWaiting = "waiting" // new: not ready, and why
	wordReady   = "ready"   // new
	wordFailed  = "failed"  // new: it ends, and why
	wordGo      = "go"      // old: accept, I do no more
)

// maxLine bounds what one side makes the other keep.
const maxLine = 4 << 10

// line is a word and what follows, on one line.
func line(word, rest string) []byte {
	rest = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(rest, "?"))
	if len(rest) > maxLine-32 {
		rest = strings.ToValidUTF8(rest[:maxLine-32], "")
	}
	return []byte(strings.TrimSpace(word+" "+rest) + "\n")
}

func words(text string) (word, rest string) {
	word, rest, _ = strings.Cut(strings.TrimSpace(text), " ")
	return word, rest
}

// gone tells whether a write failed because the other process has ended.
func gone(err error) bool { return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) }
