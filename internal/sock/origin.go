package sock

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"unsafe"
)

// OriginalDst is where the client of an accepted connection wanted to go, before a redirect of the kernel (nftables, iptables)
// brought it here: SO_ORIGINAL_DST. It is not valid where nothing was redirected, and for connections that are no sockets.
func OriginalDst(c net.Conn) netip.AddrPort {
	const (
		option = 80 // SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST
		ipv4   = syscall.SOL_IP
		ipv6   = syscall.SOL_IPV6
	)
	local, ok := c.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	raw, err := rawConn(c)
	if err != nil {
		return netip.AddrPort{}
	}
	var found netip.AddrPort
	_ = raw.Control(func(fd uintptr) {
		if local.IP.To4() != nil { // also on a socket that listens on both: the connection itself is IPv4
			var a syscall.RawSockaddrInet4
			if getsockopt(fd, ipv4, option, unsafe.Pointer(&a), unsafe.Sizeof(a)) {
				found = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), hostOrder(a.Port))
			}
			return
		}
		var a syscall.RawSockaddrInet6
		if getsockopt(fd, ipv6, option, unsafe.Pointer(&a), unsafe.Sizeof(a)) {
			found = netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), hostOrder(a.Port))
		}
	})
	return found
}

func getsockopt(fd uintptr, level, option int, value unsafe.Pointer, size uintptr) bool {
	n := uint32(size)
	_, _, errno := syscall.RawSyscall6(syscall.SYS_GETSOCKOPT, fd, uintptr(level), uintptr(option), uintptr(value),
		uintptr(unsafe.Pointer(&n)), 0)
	return errno == 0
}

// hostOrder reads a port that the kernel has written in network order.
func hostOrder(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}
