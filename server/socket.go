package server

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// stream is what *net.TCPConn and *net.UnixConn are.
type stream interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// socket is a connection that reads and writes without telling Go's scheduler. Deadlines and Close work as with package net.
//
// Package net enters and leaves every system call by way of the scheduler, which then prepares for one that blocks: it wakes its monitor
// thread after a pause, and takes processors from threads that the kernel has preempted. Calls on these sockets never block; where nothing can
// be moved the goroutine waits in the poller, outside of the call. For small messages the preparations cost more than the transfer: without
// them a query takes the daemon a third less of processor time.
type socket struct {
	stream
	raw syscall.RawConn
}

// asSocket returns conn as a socket if it is one of the system's; TLS, say, stays what it is.
func asSocket(conn net.Conn) net.Conn {
	s, ok := conn.(stream)
	if !ok {
		return conn
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return conn
	}
	return &socket{s, raw}
}

// Read reads at least one byte, unless p is empty.
func (s *socket) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	var errno syscall.Errno
	err = s.raw.Read(func(fd uintptr) bool {
		n, errno = transfer(syscall.SYS_READ, fd, p)
		return errno != syscall.EAGAIN
	})
	switch {
	case err != nil:
		return 0, err
	case errno != 0:
		return 0, os.NewSyscallError("read", errno)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write writes all of p, or tells how much of it when it fails.
func (s *socket) Write(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	var errno syscall.Errno
	err = s.raw.Write(func(fd uintptr) bool {
		var written int
		for n < len(p) && errno == 0 {
			written, errno = transfer(syscall.SYS_WRITE, fd, p[n:])
			n += written
		}
		if errno == syscall.EAGAIN {
			errno = 0
			return false
		}
		return true
	})
	if err == nil && errno != 0 {
		err = os.NewSyscallError("write", errno)
	}
	return n, err
}

// transfer moves bytes between p, which is not empty, and a socket that does not block.
func transfer(call, fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p))) //nolint:gosec // as syscall.Read does it
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
