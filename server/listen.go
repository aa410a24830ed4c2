package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Modes of the Unix socket and of its directory when it has to be made. Anybody may connect: who is admitted is decided by the
// identity of the peer, and a refusal says so.
const (
	socketDirMode = 0o711
	socketMode    = 0o777
)

// listen opens every listener of the configuration.
func (s *Server) listen() error {
	var lc net.ListenConfig
	for _, addr := range s.cfg.Listen {
		l, err := lc.Listen(context.Background(), "tcp", addr)
		if err != nil {
			return fmt.Errorf("listen at %s: %w", addr, err)
		}
		s.listeners = append(s.listeners, l)
	}
	if s.cfg.SocketDir == "" {
		return nil
	}
	path := filepath.Join(s.cfg.SocketDir, ".s.PGSQL."+strconv.Itoa(DefaultPort))
	l, err := listenUnix(lc, path)
	if err != nil {
		return fmt.Errorf("listen at %s: %w", path, err)
	}
	s.listeners = append(s.listeners, l)
	return nil
}

// listenUnix opens the socket, in the place of one that a server left behind which is gone.
func listenUnix(lc net.ListenConfig, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), socketDirMode); err != nil {
		return nil, err
	}
	l, err := lc.Listen(context.Background(), "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		dialer := net.Dialer{Timeout: time.Second}
		conn, dialErr := dialer.DialContext(context.Background(), "unix", path)
		if dialErr == nil {
			return nil, errors.Join(errors.New("another server is using the socket"), conn.Close())
		}
		if !errors.Is(dialErr, syscall.ECONNREFUSED) {
			return nil, err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		l, err = lc.Listen(context.Background(), "unix", path)
	}
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (s *Server) closeListeners() error {
	var errs []error
	for _, l := range s.listeners {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// peerUID returns the user id of the process at the other end of a Unix socket.
func peerUID(conn *net.UnixConn) (uint32, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return cred.Uid, nil
}
