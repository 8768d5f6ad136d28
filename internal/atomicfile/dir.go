package atomicfile

import (
	"fmt"
	"os"
)

// PrivateDir makes a directory of mode 0700 for files that are nobody else's business. One that is there already is taken
// as it is, unless others may write to it: they could put their own files in the place of ours.
func PrivateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%s is writable by others (mode %04o): chmod 700 %s", dir, mode, dir)
	}
	return nil
}
