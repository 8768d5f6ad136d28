package http1

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/internal/memconn"
)

// attack is a message that two parsers somewhere have read in two ways, or that has no one meaning. wire is all that is sent;
// it is to be refused in its head with status, or, if that is 0, in its body.
type attack struct {
	name, wire string
	status     int
}

const (
	post     = "POST / HTTP/1.1\r\nHost: h\r\n"
	get      = "GET / HTTP/1.1\r\nHost: h\r\n"
	smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
	chunked  = post + "Transfer-Encoding: chunked\r\n\r\n"
	ok       = "HTTP/1.1 200 OK\r\n"
)

// Names in parentheses are where an attack is described: "Linhart" is Linhart et al., HTTP Request Smuggling (2005); "Kettle"
// are Cracking the Lens (2017), HTTP Desync Attacks (2019) and HTTP/1.1 must die (2025); "T-Reqs" is
// Jabiyev et al. (CCS 2021). TE.CL and its like are Kettle's words for which of two fields the first and the second server read.
var requestAttacks = []attack{
	// Two lengths.
	{"CL.CL, different (Linhart; RFC 9112 section 6.3)", post + "Content-Length: 6\r\nContent-Length: 5\r\n\r\n12345G", 400},
	{"CL.CL, equal: allowed to repair, refused here", post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n12345", 400},
	{"CL.CL in one field", post + "Content-Length: 5, 5\r\n\r\n12345", 400},
	{"CL.CL in one field, different", post + "Content-Length: 6,5\r\n\r\n12345G", 400},
	{"CL.TE (Linhart; Kettle 2019)", post + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", 400},
	{"TE.CL (Kettle 2019)", post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n" + smuggled + "\r\n0\r\n\r\n", 400},
	{"TE with Content-Length: 0", post + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},

	// Spellings of Content-Length.
	{"length with a plus (T-Reqs)", post + "Content-Length: +5\r\n\r\n12345", 400},
	{"length with a minus", post + "Content-Length: -5\r\n\r\n12345", 400},
	{"length in hexadecimal", post + "Content-Length: 0x5\r\n\r\n12345", 400},
	{"length with an underscore, which Python's int takes", post + "Content-Length: 0_5\r\n\r\n12345", 400},
	{"length with a space inside (CVE-2018-7159)", post + "Content-Length: 5 5\r\n\r\n12345", 400},
	{"length with a letter behind", post + "Content-Length: 5x\r\n\r\n12345", 400},
	{"length with a fraction", post + "Content-Length: 5.0\r\n\r\n12345", 400},
	{"length that overflows 64 bits", post + "Content-Length: 18446744073709551621\r\n\r\n12345", 400},
	{"length that overflows 63 bits", post + "Content-Length: 9223372036854775808\r\n\r\n", 400},
	{"length of too many digits", post + "Content-Length: " + strings.Repeat("0", 30) + "5\r\n\r\n12345", 400},
	{"length of nothing", post + "Content-Length:\r\n\r\n", 400},
	{"length in Arabic digits", post + "Content-Length: \xd9\xa5\r\n\r\n12345", 400},
	{"length behind a vertical tab", post + "Content-Length: \x0b5\r\n\r\n12345", 400},
	{"length before a form feed", post + "Content-Length: 5\x0c\r\n\r\n12345", 400},
	{"length in quotes", post + "Content-Length: \"5\"\r\n\r\n12345", 400},
	{"Content_Length, which CGI takes for Content-Length", post + "Content_Length: 5\r\n\r\n12345", 400},

	// Spellings of Transfer-Encoding (TE.TE, Kettle 2019; CVE-2019-15605).
	{"TE: xchunked", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
	{"TE: chunked, chunked", post + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501},
	{"TE: chunked, identity (CVE-2022-32213, llhttp)", post + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501},
	{"TE: identity", post + "Transfer-Encoding: identity\r\n\r\n", 501},
	{"TE: identity, chunked", post + "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", 501},
	{"TE: gzip, chunked, which is not spoken here", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
	{"TE: chunked with a comma behind", post + "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", 501},
	{"TE: a comma before chunked", post + "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", 501},
	{"TE: chunked with a parameter", post + "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 501},
	{"TE: chunked in quotes", post + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 501},
	{"TE: nothing", post + "Transfer-Encoding:\r\n\r\n", 501},
	{"TE: cow", post + "Transfer-Encoding: cow\r\n\r\n", 501},
	{"TE twice (CVE-2020-8287)", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"TE twice, the second one unknown", post + "Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n\r\n0\r\n\r\n", 400},
	{"TE behind a vertical tab (Kettle 2019)", post + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400},
	{"TE before a NUL", post + "Transfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n", 400},
	{"TE with a byte of Latin-1", post + "Transfer-Encoding: chunked\xa0\r\n\r\n0\r\n\r\n", 501},
	{"space before the colon (CVE-2019-16276, CVE-2019-16869, CVE-2021-22959)", post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400},
	{"tab before the colon", post + "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 400},
	{"NUL before the colon", post + "Transfer-Encoding\x00: chunked\r\n\r\n0\r\n\r\n", 400},
	{"vertical tab before the colon", post + "Transfer-Encoding\x0b: chunked\r\n\r\n0\r\n\r\n", 400},
	{"Transfer_Encoding, which CGI takes for Transfer-Encoding", post + "Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"TE with a space before the name", "POST / HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: h\r\n\r\n0\r\n\r\n", 400},
	{"TE folded (CVE-2022-32215, llhttp)", post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400},
	{"TE in the value of another field, behind LF (Kettle 2019)", post + "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"TE in the value of another field, behind CR (CVE-2023-30589)", post + "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"TE in HTTP/1.0 (RFC 9112 section 6.1)", "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"TE in HTTP/1.0 with a length", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n", 400},

	// Lines.
	{"folded field (RFC 9112 section 5.2)", get + "X: a\r\n b\r\n\r\n", 400},
	{"folded field, by a tab", get + "X: a\r\n\tContent-Length: 5\r\n\r\n12345", 400},
	{"folded first line (T-Reqs)", "GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400},
	{"line of spaces", get + "  \r\nContent-Length: 5\r\n\r\n12345", 400},
	{"LF ends a line", "GET / HTTP/1.1\nHost: h\n\n", 400},
	{"LF ends the head", get + "X: y\r\n\n", 400},
	{"LF CR", "GET / HTTP/1.1\r\nHost: h\n\rX: y\r\n\r\n", 400},
	{"CR ends a line (CVE-2022-32214, llhttp)", get + "X: y\rContent-Length: 5\r\n\r\n12345", 400},
	{"CR CR LF", get + "X: y\r\r\n\r\n", 400},
	{"CR CR LF ends the head", get + "X: y\r\n\r\r\n", 400},
	{"CR in the request line", "GET / HTTP/1.1\rX: y\r\nHost: h\r\n\r\n", 400},
	{"NUL in a value", get + "X: a\x00b\r\n\r\n", 400},
	{"DEL in a value", get + "X: a\x7fb\r\n\r\n", 400},
	{"escape in a value", get + "X: a\x1bb\r\n\r\n", 400},
	{"control character in a name", get + "X\x01: b\r\n\r\n", 400},
	{"byte of UTF-8 in a name", get + "X\xc3\xa4: b\r\n\r\n", 400},
	{"no name", get + ": b\r\n\r\n", 400},
	{"no colon", get + "Content-Length\r\n\r\n", 400},
	{"name in parentheses", get + "(X): b\r\n\r\n", 400},
	{"name in quotes", get + "\"Content-Length\": 5\r\n\r\n12345", 400},

	// Request lines.
	{"two spaces behind the method", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"two spaces before the version", "GET /  HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"space behind the version", "GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400},
	{"space before the method", " GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"tab for a space", "GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"tab before the version", "GET /\tHTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"vertical tab for a space", "GET\x0b/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"space in the target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"version in the target (T-Reqs)", "GET / HTTP/1.1 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"no version: HTTP/0.9 (Kettle; RFC 9112 appendix C.1)", "GET /\r\nHost: h\r\n\r\n", 400},
	{"HTTP/0.9 by name", "GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505},
	{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505},
	{"HTTP/2.0 in text", "GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
	{"HTTP/01.1", "GET / HTTP/01.1\r\nHost: h\r\n\r\n", 505},
	{"HTTP/1.01", "GET / HTTP/1.01\r\nHost: h\r\n\r\n", 505},
	{"HTTP/1.1.1", "GET / HTTP/1.1.1\r\nHost: h\r\n\r\n", 505},
	{"HTTP/1,1", "GET / HTTP/1,1\r\nHost: h\r\n\r\n", 400},
	{"HTTP/+1.1", "GET / HTTP/+1.1\r\nHost: h\r\n\r\n", 400},
	{"http/1.1", "GET / http/1.1\r\nHost: h\r\n\r\n", 400},
	{"HTTP/1.1 with a byte behind", "GET / HTTP/1.1x\r\nHost: h\r\n\r\n", 400},
	{"HTTPS/1.1", "GET / HTTPS/1.1\r\nHost: h\r\n\r\n", 400},
	{"method with a colon", "GET: / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"no method", " / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"control character in the target", "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"NUL in the target", "GET /a\x00b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"UTF-8 in the target", "GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"fragment in the target", "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"two empty lines before the request", "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"LF before the request", "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"SOCKS", "\x05\x01\x00", 400},

	// Who is asked.
	{"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
	{"two Hosts", "GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", 400},
	{"the same Host twice", "GET / HTTP/1.1\r\nHost: h\r\nhost: h\r\n\r\n", 400},
	{"two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: h\r\nHost: i\r\n\r\n", 400},
	{"Host with user information", "GET / HTTP/1.1\r\nHost: h@i\r\n\r\n", 400},
	{"Host with a path", "GET / HTTP/1.1\r\nHost: h/i\r\n\r\n", 400},
	{"Host with a query", "GET / HTTP/1.1\r\nHost: h?i\r\n\r\n", 400},
	{"Host with a backslash", "GET / HTTP/1.1\r\nHost: h\\i\r\n\r\n", 400},
	{"Host with a space", "GET / HTTP/1.1\r\nHost: h i\r\n\r\n", 400},
	{"Host with a percent escape", "GET / HTTP/1.1\r\nHost: h%2fi\r\n\r\n", 400},
	{"absolute target and another Host (T-Reqs; Kettle 2017)", "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 400},
	{"absolute target and an empty Host", "GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n", 400},
	{"absolute target and a Host of another port", "GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"absolute target and the port of another scheme", "GET https://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n", 400},
	{"absolute target with user information", "GET http://u:p@h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"absolute target with user information behind a backslash", "GET http://h\\@i/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"absolute target without a host", "GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"absolute target without slashes", "GET http:h/a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"absolute target of another scheme", "GET gopher://h/a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"target that begins with @ (Kettle 2017)", "GET @i/a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"target that is a port", "GET :80/a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"asterisk for all", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"CONNECT with a length", "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nContent-Length: 5\r\n\r\n12345", 400},
	{"CONNECT with chunks", "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"CONNECT without a port", "CONNECT h HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"CONNECT to a path", "CONNECT /a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"CONNECT to a URL", "CONNECT http://h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", 400},
	{"CONNECT to a port beyond 65535", "CONNECT h:65616 HTTP/1.1\r\nHost: h:65616\r\n\r\n", 400},
	{"CONNECT to port 0", "CONNECT h:0 HTTP/1.1\r\nHost: h:0\r\n\r\n", 400},
	{"CONNECT and another Host", "CONNECT a:1 HTTP/1.1\r\nHost: b:1\r\n\r\n", 400},

	// Expectations (Kettle 2025: 0.CL and CL.0 by an Expect that the one knows and the other does not).
	{"Expect of something else", post + "Expect: x\r\nContent-Length: 5\r\n\r\n12345", 417},
	{"Expect with 100-continue somewhere in it", post + "Expect: y 100-continue\r\nContent-Length: 5\r\n\r\n12345", 417},
	{"Expect with 100-continue in a list", post + "Expect: 100-continue, 100-continue\r\nContent-Length: 5\r\n\r\n12345", 417},
	{"Expect of nothing", post + "Expect:\r\nContent-Length: 5\r\n\r\n12345", 417},

	// Chunks: size lines.
	{"chunk size with a plus", chunked + "+5\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk size with a minus", chunked + "-5\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk size with 0x", chunked + "0x5\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk size with an underscore", chunked + "0_5\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk size with a space before it", chunked + " 5\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk size with a space behind it", chunked + "5 \r\n12345\r\n0\r\n\r\n", 0},
	{"chunk size with a tab behind it", chunked + "5\t\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk size with two values", chunked + "5 5\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk size of nothing", chunked + "\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk size that is none", chunked + "g\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk size that overflows 64 bits", chunked + "10000000000000005\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk size that is negative in 64 bits (CVE-2013-2028, nginx)", chunked + "fffffffffffffffb\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk size of too many zeros", chunked + strings.Repeat("0", 20) + "5\r\n12345\r\n0\r\n\r\n", 0},
	{"last chunk of too many zeros", chunked + strings.Repeat("0", 20) + "\r\n\r\n", 0},
	{"chunk size before a NUL", chunked + "5\x00\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk that is longer than its size", chunked + "4\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk that is shorter than its size", chunked + "6\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk with LF behind it", chunked + "5\r\n12345\n0\r\n\r\n", 0},
	{"chunk with CR behind it", chunked + "5\r\n12345\r0\r\n\r\n", 0},
	{"chunk with two bytes of anything behind it", chunked + "5\r\n12345xx0\r\n\r\n", 0},
	{"chunk size line that ends in LF (CVE-2025-22871; Weikop: TERM.EXT)", chunked + "5\n12345\r\n0\r\n\r\n", 0},
	{"last chunk that ends in LF", chunked + "0\n\r\n", 0},
	{"chunked body that ends in LF", chunked + "0\r\n\n", 0},
	{"chunk size line that ends in CR CR LF", chunked + "5\r\r\n12345\r\n0\r\n\r\n", 0},
	{"chunked body that ends with the connection", chunked + "5\r\n12345\r\n", 0},

	// Chunks: extensions (Weikop, Funky chunks, 2025; CVE-2021-22960, CVE-2025-55315, CVE-2025-58056).
	{"LF in a chunk extension (EXT.TERM)", chunked + "5;a\nx\r\n12345\r\n0\r\n\r\n", 0},
	{"LF in a quoted chunk extension", chunked + "5;a=\"\n\"\r\n12345\r\n0\r\n\r\n", 0},
	{"CR in a chunk extension", chunked + "5;a\rx\r\n12345\r\n0\r\n\r\n", 0},
	{"CR LF in a quoted chunk extension", chunked + "5;a=\"\r\n\"\r\n12345\r\n0\r\n\r\n", 0},
	{"NUL in a chunk extension", chunked + "5;a=\x00\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk extension whose quotes are not closed", chunked + "5;a=\"b\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk extension that ends in a backslash", chunked + "5;a=\"b\\\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk extension with text behind its quotes", chunked + "5;a=\"b\"c\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk extension without a name", chunked + "5;\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk extension with a value and no name", chunked + "5;=b\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk extension with a name and no value", chunked + "5;a=\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk extension behind a comma", chunked + "5,a=b\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk extension with spaces", chunked + "5 ;a = b\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk extension with a smuggled line", chunked + "5;a=b c\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk extension without end (CVE-2023-39326)", chunked + "5;a=" + strings.Repeat("b", 1<<16) + "\r\n12345\r\n0\r\n\r\n", 0},

	// Trailers.
	{"LF in trailers", chunked + "0\r\nX: y\n\r\n", 0},
	{"LF ends the trailers", chunked + "0\r\nX: y\r\n\n", 0},
	{"CR in trailers", chunked + "0\r\nX: y\rz\r\n\r\n", 0},
	{"folded trailer", chunked + "0\r\nX: y\r\n z\r\n\r\n", 0},
	{"trailer with a space before its colon", chunked + "0\r\nX : y\r\n\r\n", 0},
	{"trailer without a colon: a request line (T-Reqs)", chunked + "0\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n", 0},
	{"NUL in trailers", chunked + "0\r\nX: \x00\r\n\r\n", 0},
	{"trailers without end", chunked + "0\r\n" + strings.Repeat("X: y\r\n", 1<<15) + "\r\n", 0},
}

func TestRequestSmuggling(t *testing.T) {
	names := map[string]bool{}
	for _, a := range requestAttacks {
		if names[a.name] {
			t.Errorf("%s is there twice", a.name)
		}
		names[a.name] = true
		t.Run(a.name, func(t *testing.T) {
			for how, src := range arrivals(a.wire + smuggled) {
				r := NewReader(src)
				var m Request
				err := r.ReadRequest(&m)
				refused(t, how, &a, err, func() error { return restOf(r, m.Body) })
			}
		})
	}
}

var responseAttacks = []attack{
	{"CL.CL, different", ok + "Content-Length: 6\r\nContent-Length: 5\r\n\r\n12345H", 400},
	{"CL.CL, equal", ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n12345", 400},
	{"CL.CL in one field", ok + "Content-Length: 5, 5\r\n\r\n12345", 400},
	{"CL.TE", ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"length with a plus", ok + "Content-Length: +5\r\n\r\n12345", 400},
	{"length with a minus (until close, to some)", ok + "Content-Length: -1\r\n\r\n12345", 400},
	{"length in hexadecimal", ok + "Content-Length: 0x5\r\n\r\n12345", 400},
	{"length that overflows", ok + "Content-Length: 18446744073709551621\r\n\r\n12345", 400},
	{"length of nothing", ok + "Content-Length: \r\n\r\n12345", 400},
	{"length for HEAD that is none", "HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n", 400},
	{"TE: chunked, chunked", ok + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501},
	{"TE: xchunked", ok + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
	{"TE: identity", ok + "Transfer-Encoding: identity\r\n\r\n", 501},
	{"TE twice", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400},
	{"TE in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"TE behind a space before the colon", ok + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400},
	{"204 with content (RFC 9110 section 8.6)", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n12345", 400},
	{"204 with chunks (RFC 9112 section 6.1)", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"100 with content", "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n12345", 400},
	{"103 with chunks", "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"101 with content", "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\n12345", 400},
	{"101 with chunks", "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"101 without an upgrade", "HTTP/1.1 101 S\r\n\r\n", 400},
	{"101 to two protocols", "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket, h2c\r\n\r\n", 400},

	{"no status line", "<html>\r\n\r\n", 400},
	{"LF before the status line", "\nHTTP/1.1 200 OK\r\n\r\n", 400},
	{"empty line before the status line", "\r\nHTTP/1.1 200 OK\r\n\r\n", 400},
	{"space before the version", " HTTP/1.1 200 OK\r\n\r\n", 400},
	{"HTTP/1.2", "HTTP/1.2 200 OK\r\n\r\n", 400},
	{"HTTP/2", "HTTP/2 200 OK\r\n\r\n", 400},
	{"HTTP/01.1", "HTTP/01.1 200 OK\r\n\r\n", 400},
	{"http/1.1", "http/1.1 200 OK\r\n\r\n", 400},
	{"ICY 200", "ICY 200 OK\r\n\r\n", 400},
	{"two spaces before the status", "HTTP/1.1  200 OK\r\n\r\n", 400},
	{"tab before the status", "HTTP/1.1\t200 OK\r\n\r\n", 400},
	{"status of two digits", "HTTP/1.1 20 OK\r\n\r\n", 400},
	{"status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", 400},
	{"status with a sign", "HTTP/1.1 +20 OK\r\n\r\n", 400},
	{"status below 100", "HTTP/1.1 099 OK\r\n\r\n", 400},
	{"status with a letter behind", "HTTP/1.1 200OK\r\n\r\n", 400},
	{"CR in the reason phrase", "HTTP/1.1 200 O\rK\r\n\r\n", 400},
	{"LF in the reason phrase", "HTTP/1.1 200 O\nK\r\n\r\n", 400},
	{"NUL in the reason phrase", "HTTP/1.1 200 O\x00K\r\n\r\n", 400},

	{"folded field", ok + "X: a\r\n b\r\nContent-Length: 0\r\n\r\n", 400},
	{"LF ends a line", ok + "X: a\nContent-Length: 0\r\n\r\n", 400},
	{"LF ends the head", ok + "Content-Length: 0\r\n\n", 400},
	{"CR in a value: response splitting", ok + "Location: /\rSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n", 400},
	{"NUL in a value", ok + "X: a\x00\r\nContent-Length: 0\r\n\r\n", 400},
	{"no colon", ok + "X\r\nContent-Length: 0\r\n\r\n", 400},

	{"chunk size with a space", ok + "Transfer-Encoding: chunked\r\n\r\n5 \r\n12345\r\n0\r\n\r\n", 0},
	{"chunk size line that ends in LF", ok + "Transfer-Encoding: chunked\r\n\r\n5\n12345\r\n0\r\n\r\n", 0},
	{"chunk that is longer than its size", ok + "Transfer-Encoding: chunked\r\n\r\n4\r\n12345\r\n0\r\n\r\n", 0},
	{"chunk extension with LF", ok + "Transfer-Encoding: chunked\r\n\r\n5;a\n\r\n12345\r\n0\r\n\r\n", 0},
	{"response line in trailers", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nHTTP/1.1 200 OK\r\n\r\n", 0},
}

func TestResponseSmuggling(t *testing.T) {
	for _, a := range responseAttacks {
		t.Run(a.name, func(t *testing.T) {
			for how, src := range arrivals(a.wire) {
				r := NewReader(src)
				var m Response
				err := r.ReadResponse(&m, "GET")
				refused(t, how, &a, err, func() error { return restOf(r, m.Body) })
			}
		})
	}
}

// TestQueuePoisoning: what a server sends and nobody has asked for is the answer to nothing (Kettle 2022). The connection ends.
func TestQueuePoisoning(t *testing.T) {
	for _, extra := range []string{"", "x", ok + "Content-Length: 0\r\n\r\n"} {
		for _, c := range []struct{ method, response string }{
			{"GET", ok + "Content-Length: 5\r\n\r\n12345"},
			{"GET", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n"},
			{"HEAD", ok + "Content-Length: 5\r\n\r\n"},
			{"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"},
			{"GET", "HTTP/1.1 204 No Content\r\n\r\n"},
		} {
			near, far := memconn.Pair(nil, nil)
			client := NewClient(near)
			if err := client.Request(&message.Request{Method: c.method, Path: "/", Authority: "h", Length: message.Absent}, true); err != nil {
				t.Fatal(err)
			}
			if err := client.Flush(); err != nil {
				t.Fatal(err)
			}
			if _, err := far.Write([]byte(c.response + extra)); err != nil {
				t.Fatal(err)
			}
			var m message.Response
			if err := client.Response(&m); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, client); err != nil {
				t.Fatal(err)
			}
			if alive := client.Reusable() && client.Alive(); alive != (extra == "") {
				t.Errorf("%s %q and %q behind it: the connection goes on: %t", c.method, c.response, extra, alive)
			}
			client.Abort()
			_ = far.Close()
		}
	}
}

// arrivals are the ways in which bytes may come: where one read ends must never matter.
func arrivals(wire string) map[string]io.Reader {
	return map[string]io.Reader{
		"at once":  strings.NewReader(wire),
		"by bytes": iotest.OneByteReader(strings.NewReader(wire)),
	}
}

func restOf(r *Reader, f Framing) error {
	var b Body
	b.Reset(r, f)
	_, err := io.Copy(io.Discard, &b)
	return err
}

func refused(t *testing.T, how string, a *attack, head error, body func() error) {
	t.Helper()
	var e *Error
	if a.status != 0 {
		if !errors.As(head, &e) || e.Status != a.status {
			t.Errorf("%s: %v, want %d", how, head, a.status)
		}
		return
	}
	if head != nil {
		t.Fatalf("%s: the head is refused: %v", how, head)
	}
	if body() == nil {
		t.Errorf("%s: the body is accepted", how)
	}
}

// TestHarmless: what looks odd, has one meaning, and is sent by somebody who means well.
func TestHarmless(t *testing.T) {
	for _, c := range []struct {
		name, wire, method, authority, body string
	}{
		{"method in lower case is another method", "get / HTTP/1.1\r\nHost: h\r\n\r\n", "get", "h", ""},
		{"method of odd letters", "M-SEARCH!#$%&'*+.^_`|~0 / HTTP/1.1\r\nHost: h\r\n\r\n", "M-SEARCH!#$%&'*+.^_`|~0", "h", ""},
		{"one empty line before the request", "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "h", ""},
		{"tabs and spaces round a value", "GET / HTTP/1.1\r\nHost: \t h \t\r\n\r\n", "GET", "h", ""},
		{"no space behind the colon", "GET / HTTP/1.1\r\nHost:h\r\n\r\n", "GET", "h", ""},
		{"Host in upper case", "GET / HTTP/1.1\r\nHOST: H:80\r\n\r\n", "GET", "h:80", ""},
		{"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET", "", ""},
		{"IPv6", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET", "[::1]:80", ""},
		{"absolute target", "GET http://H/a HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "h", ""},
		{"absolute target with the port that is the default", "GET http://h:80/a HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "h:80", ""},
		{"absolute target and a Host with the port that is the default", "GET https://h/a HTTP/1.1\r\nHost: h:443\r\n\r\n", "GET", "h", ""},
		{"absolute target in HTTP/1.0, without Host", "GET http://h/a HTTP/1.0\r\n\r\n", "GET", "h", ""},
		{"CONNECT and a Host without its port", "CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", "CONNECT", "h:443", ""},
		{"CONNECT in HTTP/1.0, without Host", "CONNECT h:443 HTTP/1.0\r\n\r\n", "CONNECT", "h:443", ""},
		{"Chunked", post + "Transfer-Encoding: CHUNKED\r\n\r\n5\r\n12345\r\n0\r\n\r\n", "POST", "h", "12345"},
		{"zeros before a chunk size", chunked + "0005\r\n12345\r\n000\r\n\r\n", "POST", "h", "12345"},
		{"zeros before a length", post + "Content-Length: 0005\r\n\r\n12345", "POST", "h", "12345"},
		{"chunk extensions by the book", chunked + "5;a;b=c;d=\"e \\\" ;\t\xff\"\r\n12345\r\n0;x\r\n\r\n", "POST", "h", "12345"},
		{"trailers", chunked + "5\r\n12345\r\n0\r\nX-Sum: 1\r\nContent-Length: 7\r\nTransfer-Encoding: x\r\nHost: i\r\n\r\n", "POST", "h", "12345"},
		{"Expect twice", post + "Expect: 100-continue\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n12345", "POST", "h", "12345"},
		{"GET with content", get + "Content-Length: 5\r\n\r\n12345", "GET", "h", "12345"},
		{"Connection names fields of framing", post + "Connection: content-length, host, transfer-encoding\r\nContent-Length: 5\r\n\r\n12345", "POST", "h", "12345"},
		{"Upgrade to h2c is not taken up (Bishop Fox, h2c smuggling)", get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n", "GET", "h", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for how, src := range arrivals(c.wire + smuggled) {
				r := NewReader(src)
				var m Request
				if err := r.ReadRequest(&m); err != nil {
					t.Fatalf("%s: %v", how, err)
				}
				if m.Method != c.method || m.Authority != c.authority || m.Upgrade != "" {
					t.Errorf("%s: %s of %q, upgrade %q", how, m.Method, m.Authority, m.Upgrade)
				}
				for _, f := range m.Header.Fields {
					switch strings.ToLower(f.Name) {
					case "upgrade", "http2-settings", "connection", "expect", "transfer-encoding", "content-length", "host":
						t.Errorf("%s: %s goes on", how, f.Name)
					}
				}
				if m.Method == "CONNECT" {
					continue
				}
				var b Body
				b.Reset(r, m.Body)
				got, err := io.ReadAll(&b)
				if err != nil || string(got) != c.body {
					t.Fatalf("%s: body %q, %v", how, got, err)
				}
				if err := r.ReadRequest(&m); err != nil || m.Path != "/smuggled" {
					t.Fatalf("%s: the next request is %q, %v", how, m.Path, err)
				}
			}
		})
	}
	t.Run("204 with a length of 0", func(t *testing.T) {
		var m Response
		if err := NewReader(strings.NewReader("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")).ReadResponse(&m, "GET"); err != nil || m.Body != (Framing{}) || m.Length >= 0 {
			t.Errorf("%+v, %v", m, err)
		}
	})
}
