package testenv

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken below the range from which the kernel serves outgoing connections, so that nobody gets one by chance
// while its server is down.
const (
	firstPort = 15000
	lastPort  = 32000
)

// port is a TCP port of 127.0.0.1 that no other process using this package gets, from reservePort to Close, whether or
// not somebody listens on it. The claim is a socket in Linux's abstract namespace: it ends with the process.
type port struct {
	number int
	claim  net.Listener
}

// reservePort claims want, or a free port when want is zero.
func reservePort(ctx context.Context, want int) (*port, error) {
	if want != 0 {
		return claimPort(ctx, want)
	}
	var last error
	for range 200 {
		p, err := claimPort(ctx, firstPort+rand.IntN(lastPort-firstPort)) //nolint:gosec // not a secret
		if err == nil {
			return p, nil
		}
		last = err
	}
	return nil, fmt.Errorf("find a free port: %w", last)
}

func claimPort(ctx context.Context, number int) (*port, error) {
	var lc net.ListenConfig
	claim, err := lc.Listen(ctx, "unix", "@pgsyncd-testenv-port-"+strconv.Itoa(number))
	if err != nil {
		return nil, fmt.Errorf("claim port %d: %w", number, err)
	}
	probe, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(number)))
	if err != nil {
		_ = claim.Close()
		return nil, fmt.Errorf("claim port %d: %w", number, err)
	}
	_ = probe.Close()
	return &port{number: number, claim: claim}, nil
}

// Close gives the port up.
func (p *port) Close() { _ = p.claim.Close() }
