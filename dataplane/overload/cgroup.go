package overload

import (
	"bytes"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// Group is the memory of a cgroup (version 2), which the kernel enforces by killing.
type Group struct {
	files fs.FS
	dir   string
	Limit uint64 // of the group, or of one above it
}

// FindGroup finds the cgroup of this process that limits its memory. root is the root of the file system; ok is false where
// no group has a limit.
func FindGroup(root fs.FS) (g *Group, ok bool) {
	self, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil, false
	}
	dir := ""
	for line := range strings.Lines(string(self)) {
		if at, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/"); ok {
			dir = at
		}
	}
	const mount = "sys/fs/cgroup"
	g = &Group{files: root, Limit: math.MaxUint64}
	for at := path.Join(mount, dir); ; at = path.Dir(at) {
		// The tightest one counts, and with it what its whole group uses.
		if limit, err := number(root, path.Join(at, "memory.max")); err == nil && limit < g.Limit {
			g.dir, g.Limit = at, limit
		}
		if at == mount || !strings.HasPrefix(at, mount) {
			break
		}
	}
	return g, g.dir != ""
}

// Monitor is the group's pressure. limit, if it is not 0 and less than the group's own, counts in its place: Envoy's
// cgroup_memory.
func (g *Group) Monitor(limit uint64) Monitor {
	if limit == 0 || limit > g.Limit {
		limit = g.Limit
	}
	return Monitor{Name: "envoy.resource_monitors.cgroup_memory", Pressure: func() float64 { return float64(g.used(limit)) / float64(limit) }}
}

// used is what the group uses and the kernel can not take back at once. Pages of files it can; they are read out of the long
// list only if they might matter.
func (g *Group) used(limit uint64) uint64 {
	used, err := number(g.files, path.Join(g.dir, "memory.current"))
	if err != nil || used < limit/4*3 {
		return used
	}
	stat, err := fs.ReadFile(g.files, path.Join(g.dir, "memory.stat"))
	if err != nil {
		return used
	}
	for line := range bytes.Lines(stat) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		if key == "inactive_file" || key == "active_file" {
			n, _ := strconv.ParseUint(value, 10, 64)
			used -= min(used, n)
		}
	}
	return used
}

// number reads a file with one number; "max" is none.
func number(root fs.FS, name string) (uint64, error) {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
}
