package http2

import "time"

// Options hold for one connection, in both roles; zero values are the defaults in brackets.
type Options struct {
	// MaxStreams is how many streams of the peer's may be open at once, and how many handlers run; in the client role how
	// many are opened at most, even if the peer allows more [100].
	MaxStreams uint32
	// StreamWindow is the receive window of a stream at its start, in bytes [64 KiB]; it grows to MaxWindow [4 MiB] while
	// the reader keeps up.
	StreamWindow, MaxWindow uint32
	// MaxHeader bounds a decoded header list in bytes, 32 for each field included [64 KiB]; MaxFields the fields in it [100].
	MaxHeader, MaxFields int
	// MaxFrame is the largest frame that we take [clients 256 KiB, which is what one of our blocks takes; servers 64 KiB, since a
	// stranger may send any number of them].
	MaxFrame uint32
	// ExtendedConnect: servers announce RFC 8441, clients use it once it is announced.
	ExtendedConnect bool
	// Ping is after how long a silent connection is asked whether it lives, and PingTimeout how long the answer may take
	// [20 s]. No Ping: none are sent.
	Ping, PingTimeout time.Duration
	// Head is how long a header block, or any frame but DATA, may take from its first byte to its last [1 min].
	Head time.Duration
	// Drain is how long after the first GOAWAY streams may still begin, if the client does not say earlier that it has
	// heard of it [5 s].
	Drain time.Duration
	// Stall is how long a write may take before the connection is given up [1 min].
	Stall time.Duration
	// OnPanic takes a bug in one stream's handler, which then ends that stream alone; nil: it is not caught.
	OnPanic func(v any, stack []byte)
	// Early is what was read of the connection already.
	Early []byte
	// OnClose is called once when the connection is closed for good; nil: nobody.
	OnClose func()

	// MaxResets, MaxControl: see the constants of these names in limits.go, which are the defaults.
	MaxResets, MaxControl int
}

func (o Options) withDefaults(server bool) Options {
	def := func(v *uint32, d uint32) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.MaxStreams, 100)
	def(&o.StreamWindow, 64<<10)
	def(&o.MaxWindow, 4<<20)
	if server {
		def(&o.MaxFrame, 64<<10)
	}
	def(&o.MaxFrame, blockSize)
	o.MaxFrame = min(max(o.MaxFrame, defaultFrame), 1<<20)
	o.StreamWindow = min(o.StreamWindow, maxWindow)
	o.MaxWindow = min(max(o.MaxWindow, o.StreamWindow), maxWindow)
	if o.MaxHeader <= 0 {
		o.MaxHeader = 64 << 10
	}
	if o.MaxFields <= 0 {
		o.MaxFields = 100
	}
	if o.PingTimeout <= 0 {
		o.PingTimeout = 20 * time.Second
	}
	if o.Head <= 0 {
		o.Head = time.Minute
	}
	if o.Drain <= 0 {
		o.Drain = drainPatience
	}
	if o.Stall <= 0 {
		o.Stall = time.Minute
	}
	if o.MaxResets <= 0 {
		o.MaxResets = MaxResets
	}
	if o.MaxControl <= 0 {
		o.MaxControl = MaxControl
	}
	return o
}
