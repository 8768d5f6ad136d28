package http1

import (
	"io"
	"strconv"
)

// Out is how a body leaves: as Length and UntilClose (bytes alone) or Chunked.
//
// AppendAvailable appends to b what of the body can be had without blocking, up to b's capacity, and the end of the body if
// it has been reached. A head and a small body so leave in one write.
func AppendAvailable(b []byte, body *Body, out Kind) []byte {
	for {
		room := cap(b) - len(b)
		if out == Chunked {
			room -= chunkOverhead
		}
		n := min(body.Available(), room)
		if n <= 0 {
			break
		}
		if out == Chunked {
			b = appendChunk(b, body.Take(n))
		} else {
			b = append(b, body.Take(n)...)
		}
	}
	if out == Chunked && body.Done() {
		b = AppendLastChunk(b, &body.Trailer)
	}
	return b
}

// Room at both ends of a copy buffer, for a chunk's size line and for its end together with that of the body.
const (
	front = 8
	back  = 2
)

// ReadPiece blocks for the next piece of the body and returns it in buf as it is to be written, and how many bytes of the
// body it holds. With io.EOF, the end, the returned bytes (the last chunk) are still to be written.
func ReadPiece(buf []byte, body *Body, out Kind) ([]byte, int, error) {
	if out != Chunked {
		n, err := body.Read(buf)
		return buf[:n], n, err
	}
	n, err := body.Read(buf[front : len(buf)-back])
	if n == 0 {
		if err == io.EOF {
			return AppendLastChunk(buf[:0], &body.Trailer), 0, io.EOF
		}
		return nil, 0, err
	}
	var size [16]byte
	head := append(strconv.AppendUint(size[:0], uint64(n), 16), "\r\n"...)
	start := front - len(head)
	copy(buf[start:], head)
	return append(buf[start:front+n], "\r\n"...), n, nil
}
