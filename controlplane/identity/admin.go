package identity

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/atomicfile"
)

const (
	adminUser = "admin"
	adminLife = 365 * 24 * time.Hour
	// adminRenew is how much of its life must be left at a start for the credential to be kept.
	adminRenew = 30 * 24 * time.Hour
)

// AdminTokenFile is where EnsureAdmin leaves the credential of a control plane's operator.
func AdminTokenFile(dataDir string) string { return filepath.Join(dataDir, "admin.token") }

// EnsureAdmin leaves a user token for "admin" in <data-dir>/admin.token (0600) and returns the path. One that still counts
// is kept over restarts.
func (t *Tokens) EnsureAdmin(ctx context.Context, dataDir string) (string, error) {
	path := AdminTokenFile(dataDir)
	why := "there was none"
	old, err := os.ReadFile(path)
	if err == nil {
		c, err := t.VerifyUser(ctx, strings.TrimSpace(string(old)))
		if err == nil && c.User == adminUser && time.Until(c.Expires) > adminRenew {
			// The token is as good as the file is private.
			if err := os.Chmod(path, 0o600); err != nil {
				return "", fmt.Errorf("admin credential: %w", err)
			}
			return path, nil
		}
		why = "the old one ends soon"
		if err != nil {
			why = "the old one: " + err.Error()
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("admin credential: %w", err)
	}
	token, _, err := t.IssueUser(ctx, adminUser, adminLife)
	if err != nil {
		return "", fmt.Errorf("admin credential: %w", err)
	}
	if err := atomicfile.Write(path, []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("admin credential: %w", err)
	}
	t.logger.InfoContext(ctx, "admin credential written", "file", path, "why", why)
	return path, nil
}
