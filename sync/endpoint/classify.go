package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Fault says what a retry can do about an error.
type Fault string

// The classes of faults.
const (
	FaultNone      Fault = ""          // no error, or the caller's own cancellation
	FaultNetwork   Fault = "network"   // passes by itself: retry for ever
	FaultOther     Fault = "other"     // may pass: retry a limited number of times
	FaultPermanent Fault = "permanent" // needs a person: fail at once
)

// permanent is implemented by errors of stages that no retry repairs.
type permanent interface{ Permanent() bool }

// Classify decides about an error of any stage. In this order: a part that
// calls itself permanent; the caller's cancellation; the server's verdict; the
// state of the network. So a server's verdict is not hidden by the broken
// connection that follows it, while of several attempts to connect the most
// hopeful one counts.
func Classify(err error) Fault {
	if err == nil {
		return FaultNone
	}
	var p permanent
	if errors.As(err, &p) && p.Permanent() {
		return FaultPermanent
	}
	if errors.Is(err, context.Canceled) {
		return FaultNone
	}
	_, connecting := errors.AsType[*ConnectError](err)
	var verdicts, others []Fault
	for _, part := range attempts(err) {
		if pgErr, ok := errors.AsType[*pgconn.PgError](part); ok {
			verdicts = append(verdicts, classifyState(pgErr.Code, connecting))
		} else {
			others = append(others, classifyLocal(part))
		}
	}
	if connecting || len(verdicts) == 0 {
		verdicts = append(verdicts, others...)
	}
	for _, fault := range []Fault{FaultNetwork, FaultPermanent} {
		if slices.Contains(verdicts, fault) {
			return fault
		}
	}
	return FaultOther
}

// Retryable reports whether trying again can help.
func Retryable(err error) bool { return Classify(err) != FaultPermanent }

func classifyState(code string, connecting bool) Fault {
	switch {
	case strings.HasPrefix(code, "08"), // connection exception
		code == "57P01", code == "57P02", code == "57P03", // shut down, crashed, starting
		code == "53300",                  // too many connections
		code == "40001", code == "40P01", // serialization failure, deadlock
		code == "55006": // a slot or database that a dying session still uses
		return FaultNetwork
	case strings.HasPrefix(code, "28"), code == "3D000", connecting && code == "42501":
		return FaultPermanent
	default:
		return FaultOther
	}
}

func classifyLocal(err error) Fault {
	_, badCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, unknownCA := errors.AsType[x509.UnknownAuthorityError](err)
	_, otherHost := errors.AsType[x509.HostnameError](err)
	_, expired := errors.AsType[x509.CertificateInvalidError](err)
	switch {
	case badCertificate, unknownCA, otherHost, expired,
		strings.Contains(err.Error(), "server refused TLS connection"):
		return FaultPermanent
	case isNetwork(err),
		errors.Is(err, pgconn.ErrReadOnlyConnection), errors.Is(err, pgconn.ErrStandbyConnection): // a switch-over
		return FaultNetwork
	default:
		return FaultOther
	}
}

// isNetwork reports an error of the network or of a peer that went away. The error number of a system call has the methods of a net.Error,
// too, but by itself it may be that of a disk which is full.
func isNetwork(err error) bool {
	var netErr net.Error
	isNet := errors.As(err, &netErr)
	if _, bare := netErr.(syscall.Errno); bare {
		isNet = false
	}
	return !isAlert(err) && (isNet || pgconn.Timeout(err) ||
		errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, pgconn.ErrConnClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
}

// isAlert reports a TLS alert of either side, which crypto/tls wraps in a
// net.OpError.
func isAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "remote error" || op.Op == "local error")
}

func ident(name string) string { return pgx.Identifier{name}.Sanitize() }
