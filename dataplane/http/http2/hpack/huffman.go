package hpack

// huffmanLengths are the lengths in bits of the codes of RFC 7541 appendix B; the last one is EOS. The code is canonical:
// codes of one length follow each other in the order of their symbols, and so the lengths are all there is to know.
var huffmanLengths = [257]uint8{
	13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
	6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
	13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
	15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
	20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
	22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
	26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
	20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
	30,
}

const (
	eos        = 256
	maxCode    = 30
	shortCodes = 8 // codes of up to so many bits have a table of their own: nearly all of ASCII
)

// huffmanTables are made of the lengths in some microseconds when the program starts.
type huffmanTables struct {
	codes   [257]uint32
	short   [1 << shortCodes]struct{ symbol, length uint8 } // by the next bits; length 0: the code is longer
	ordered [257]uint16                                     // symbols in the order of their codes
	longer  [maxCode + 1]longCodes                          // by length
}

// longCodes are the codes of one length, both ends as they stand at the left of 32 bits.
type longCodes struct {
	first uint32
	end   uint64
	index int // of the first's symbol in ordered
}

var huffman = newHuffman()

func newHuffman() (t huffmanTables) {
	code, index := uint32(0), 0
	for length := uint8(1); length <= maxCode; length++ {
		left := 32 - length
		t.longer[length] = longCodes{first: code << left, index: index}
		for symbol, l := range huffmanLengths {
			if l != length {
				continue
			}
			t.codes[symbol] = code
			t.ordered[index] = uint16(symbol)
			if length <= shortCodes {
				at := code << (shortCodes - length)
				for i := range uint32(1) << (shortCodes - length) {
					t.short[at+i].symbol, t.short[at+i].length = uint8(symbol), length
				}
			}
			code++
			index++
		}
		t.longer[length].end = uint64(code) << left
		code <<= 1
	}
	return t
}

// huffmanSize is how many bytes s has in Huffman code.
func huffmanSize(s string) int {
	bits := 0
	for i := 0; i < len(s); i++ {
		bits += int(huffmanLengths[s[i]])
	}
	return (bits + 7) / 8
}

func appendHuffman(b []byte, s string) []byte {
	var acc uint64 // its low n bits are still to be written
	var n uint
	for i := 0; i < len(s); i++ {
		length := uint(huffmanLengths[s[i]])
		acc = acc<<length | uint64(huffman.codes[s[i]])
		n += length
		if n >= 32 {
			n -= 32
			w := uint32(acc >> n)
			b = append(b, byte(w>>24), byte(w>>16), byte(w>>8), byte(w))
		}
	}
	if pad := -n & 7; pad > 0 { // with the first bits of EOS, which are ones
		acc = acc<<pad | (1<<pad - 1)
		n += pad
	}
	for n > 0 {
		n -= 8
		b = append(b, byte(acc>>n))
	}
	return b
}

// huffmanRoom is how many bytes n bytes of Huffman code can become: the shortest codes have 5 bits.
func huffmanRoom(n int) int { return n*8/5 + 1 }

// decodeHuffman appends the text of src to dst, which has the room. EOS within it and padding that is no beginning of EOS or
// longer than 7 bits are errors: RFC 7541 section 5.2.
func decodeHuffman(dst, src []byte) ([]byte, error) {
	var acc uint64 // its high n bits are still to be read
	var n uint
	for {
		for n <= 56 && len(src) > 0 {
			acc |= uint64(src[0]) << (56 - n)
			n += 8
			src = src[1:]
		}
		code := huffman.short[acc>>(64-shortCodes)]
		symbol, length := uint16(code.symbol), uint(code.length)
		if length == 0 {
			symbol, length = longCode(uint32(acc >> 32))
		}
		if length > n { // less than a code is left, and src is empty: a code has no more than 30 bits
			if n < 8 && ^acc>>(64-n) == 0 {
				return dst, nil
			}
			return dst, errHuffman
		}
		if symbol == eos {
			return dst, errHuffman
		}
		dst = append(dst, byte(symbol))
		acc <<= length
		n -= length
	}
}

// longCode finds the code that bits begin with. Every sequence of bits begins with one.
func longCode(bits uint32) (symbol uint16, length uint) {
	length = shortCodes + 1
	for uint64(bits) >= huffman.longer[length].end {
		length++
	}
	l := &huffman.longer[length]
	return huffman.ordered[l.index+int((bits-l.first)>>(32-length))], length
}
