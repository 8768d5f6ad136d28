package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/controlplane"
	"github.com/hauberk-mesh/hauberk/internal/leak"
)

// TestMain makes this binary be hauberk where a script says so, and checks for leaks where it is the test.
func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){
		"hauberk": func() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if left := leak.Wait(5 * time.Second); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "leaked goroutines:\n\n%s\n", left)
		return 1
	}
	return code
}

// TestSessions runs testdata/*.txt: each is a terminal session with a control plane of its own.
func TestSessions(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HAUBERK_DATA_DIR", filepath.Join(e.WorkDir, "mesh"))
			e.Setenv("HAUBERK_API_ADDR", "")
			e.Setenv("HOME", e.WorkDir)
			// By default a program with the race detector sleeps for a second before it exits: there are hundreds here.
			e.Setenv("GORACE", "halt_on_error=1 exitcode=66 atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":   exits,
			"ready":   ready,
			"retry":   retry,
			"revoke":  revoke,
			"shows":   shows,
			"setport": setPort,
			"expand":  expand,
			"page":    page,
			"keypair": keypair,
			"request": func(ts *testscript.TestScript, _ bool, args []string) { request(ts, args, 30*time.Second) },
			"once":    func(ts *testscript.TestScript, _ bool, args []string) { request(ts, args, 0) },
		},
	})
}

// exits CODE ARGS...: runs hauberk and wants that code. Its stdin is the file named by the variable STDIN, if any.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE ARG...")
	}
	err := ts.Exec("hauberk", args[1:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("hauberk %s: exit code %s, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// ready waits for the control plane of $HAUBERK_DATA_DIR, which runs beside the script, and keeps its ports in $API and $XDS.
func ready(ts *testscript.TestScript, _ bool, _ []string) {
	file := filepath.Join(ts.Getenv("HAUBERK_DATA_DIR"), controlplane.AddressesFile)
	for deadline := time.Now().Add(30 * time.Second); ; {
		var a controlplane.Addresses
		if b, err := os.ReadFile(file); err == nil && json.Unmarshal(b, &a) == nil {
			ts.Setenv("API", a.API)
			ts.Setenv("XDS", a.XDS)
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s did not appear", file)
		}
		time.Sleep(20 * time.Millisecond) // another process
	}
}

// retry ARG...: runs hauberk until it exits 0.
func retry(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(30 * time.Second); ts.Exec("hauberk", args...) != nil; {
		if time.Now().After(deadline) {
			ts.Fatalf("hauberk %s: did not succeed within 30 s", strings.Join(args, " "))
		}
		time.Sleep(50 * time.Millisecond) // other processes
	}
}

// shows TEXT ARG...: runs hauberk until its output holds the text.
func shows(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(30 * time.Second); ; {
		_ = ts.Exec("hauberk", args[1:]...)
		if strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("hauberk %s: did not show %q within 30 s", strings.Join(args[1:], " "), args[0])
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// setport NAME...: sets each variable to a port of loopback that is free now.
func setPort(ts *testscript.TestScript, _ bool, names []string) {
	for _, n := range names {
		ts.Setenv(n, freePort(ts))
	}
}

// TestEveryVerbExplainsItself: help, an example, and no flag without words.
func TestEveryVerbExplainsItself(t *testing.T) {
	p := &program{getenv: func(string) string { return "" }}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		if c.Short == "" || c.Example == "" || !strings.Contains(c.Example, "hauberk") {
			t.Errorf("%s: has no short help or no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(p.root())
}

// revoke NAME: revokes the token of a user or dataplane, whose id is looked for as a person would.
func revoke(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("hauberk", "token", "list"))
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == args[0] {
			ts.Check(ts.Exec("hauberk", "token", "revoke", f[0]))
			return
		}
	}
	ts.Fatalf("no token of %s", args[0])
}

func TestFlagsStandAnywhere(t *testing.T) {
	p := &program{getenv: func(string) string { return "" }}
	for args, want := range map[string]string{
		"get meshes -o json":         "get meshes -o json",
		"-o json get meshes":         "get -o json meshes",
		"-ojson get meshes":          "get -ojson meshes",
		"--wait apply -f x":          "apply --wait -f x",
		"--mesh get status":          "status --mesh get",
		"--mesh=get status":          "status --mesh=get",
		"-A --data-dir d get meshes": "get -A --data-dir d meshes",
		"--name a token create user": "token --name a create user",
		"--nonsense get meshes":      "get --nonsense meshes",
		"-- get":                     "-- get",
		"":                           "",
		"--help":                     "--help",
	} {
		if got := strings.Join(verbFirst(p.root(), strings.Fields(args)), " "); got != want {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
}
