package e2e

import (
	"os"
	"testing"

	"github.com/hauberk-mesh/hauberk/cli"
	"github.com/hauberk-mesh/hauberk/internal/leak"
)

// asHauberk makes this test binary be the hauberk program, so that the processes under test are built with the same flags
// as the test: under -race they are race-checked too.
const asHauberk = "HAUBERK_E2E_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asHauberk) != "" {
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	leak.Main(m)
}

// soak skips a long proof unless the soaks were asked for.
func soak(t *testing.T) {
	t.Helper()
	if os.Getenv("HAUBERK_SOAK") == "" {
		t.Skip("a long proof: make soak runs it")
	}
}
