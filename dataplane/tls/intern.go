package tls

import (
	"crypto/sha256"
	"crypto/x509"
	"runtime"
	"sync"
	"weak"
)

// interning keeps one copy of each certificate that some connection still shows, and none else. crypto/tls's clients do so;
// its server parses what a client sends anew each time and keeps it, 3 KiB a certificate, as long as the connection lives:
// a quarter of what an idle one costs, though a proxy sees the same few callers again and again.
type interning struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]weak.Pointer[x509.Certificate]
}

// callers are all peers of this process. Like a sync.Pool's its content can't be seen, only its effect on memory.
var callers = &interning{seen: map[[sha256.Size]byte]weak.Pointer[x509.Certificate]{}}

// one returns the copy of c that others have too, or c, which they will have from now on. Its bytes are c's.
func (in *interning) one(c *x509.Certificate) *x509.Certificate {
	key := sha256.Sum256(c.Raw)
	in.mu.Lock()
	defer in.mu.Unlock()
	if known := in.seen[key].Value(); known != nil {
		return known
	}
	in.seen[key] = weak.Make(c)
	runtime.AddCleanup(c, in.forget, key)
	return c
}

// forget runs when a copy is gone; another one may have taken its place meanwhile.
func (in *interning) forget(key [sha256.Size]byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.seen[key].Value() == nil {
		delete(in.seen, key)
	}
}
