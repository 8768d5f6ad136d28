package http2

import "encoding/binary"

// frameHeader is the nine bytes before each frame: RFC 9113 section 4.1.
const frameHeader = 9

// Types of frames: RFC 9113 section 6.
const (
	frameData uint8 = iota
	frameHeaders
	framePriority
	frameReset
	frameSettings
	framePushPromise
	framePing
	frameGoAway
	frameWindowUpdate
	frameContinuation
)

// Flags of frames. Ack is that of SETTINGS and PING, where it has END_STREAM's bit.
const (
	flagEndStream  uint8 = 0x1
	flagAck        uint8 = 0x1
	flagEndHeaders uint8 = 0x4
	flagPadded     uint8 = 0x8
	flagPriority   uint8 = 0x20
)

// clientPreface is what a client says first: RFC 9113 section 3.4.
const clientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Sizes that the protocol sets.
const (
	defaultWindow   = 65535
	defaultFrame    = 16384
	maxWindow       = 1<<31 - 1
	maxStreamID     = 1<<31 - 1
	largestMaxFrame = 1<<24 - 1
)

// frame is a parsed frame header.
type frame struct {
	length int
	kind   uint8
	flags  uint8
	stream uint32
}

func parseFrame(b []byte) frame {
	return frame{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   b[3],
		flags:  b[4],
		stream: binary.BigEndian.Uint32(b[5:]) & maxStreamID, // the first bit is reserved and ignored
	}
}

func (f frame) has(flag uint8) bool { return f.flags&flag != 0 }

func appendFrame(b []byte, length int, kind, flags uint8, stream uint32) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), kind, flags)
	return binary.BigEndian.AppendUint32(b, stream)
}

// unpad takes padding off a payload: RFC 9113 section 6.1. It fails if there is more of it than payload.
func (f frame) unpad(payload []byte) ([]byte, bool) {
	if !f.has(flagPadded) {
		return payload, true
	}
	if len(payload) == 0 || int(payload[0]) > len(payload)-1 {
		return nil, false
	}
	return payload[1 : len(payload)-int(payload[0])], true
}
