// Command soak runs a daemon between two servers while many clients write, ends, stops, cuts and delays each of the parties
// at random, during copies and while changes stream, and proves after every round that both sides are equal byte for byte.
// Rounds take turns between the decoders, and between one and several connections that apply.
//
// A soak that fails says what the daemon says about it, how the positions of source, destination and slot relate, and which
// rows differ.
//
// Environment: DURATION is how long to begin further rounds (default 10m); SEED makes the choices of an earlier soak again,
// as far as concurrency allows; WRITERS is the number of concurrent writers (default 64); KEEP, when set, leaves everything
// running after a failure until the program is interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"

	"pgsyncd/testenv"
	"pgsyncd/testenv/shop"
)

func main() { testenv.Main("soak", run) }

// settings are what a run is asked to do.
type settings struct {
	duration time.Duration
	seed     uint64
	writers  int
	keep     bool
}

func environment() (s settings, err error) {
	s = settings{duration: 10 * time.Minute, seed: uint64(time.Now().UnixNano()), writers: 64, keep: os.Getenv("KEEP") != ""}
	if text := os.Getenv("DURATION"); text != "" {
		if s.duration, err = time.ParseDuration(text); err != nil {
			return s, fmt.Errorf("DURATION: %w", err)
		}
	}
	if text := os.Getenv("SEED"); text != "" {
		if s.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			return s, fmt.Errorf("SEED: %w", err)
		}
	}
	if text := os.Getenv("WRITERS"); text != "" {
		if s.writers, err = strconv.Atoi(text); err != nil || s.writers < 1 {
			return s, fmt.Errorf("WRITERS: %q is no number of writers", text)
		}
	}
	return s, nil
}

// party is a server with the proxy that the daemon reaches it through.
type party struct {
	*testenv.Cluster
	name  string
	proxy *testenv.Proxy
}

// soak is one run. Its random choices all come from one source, seeded once, and are made by one goroutine.
type soak struct {
	settings
	*testenv.Trio
	rand                *rand.Rand
	source, destination *party
	struck              map[string]int // faults by name
	started             time.Time
}

func run(ctx context.Context) (err error) {
	asked, err := environment()
	if err != nil {
		return err
	}
	s := &soak{
		settings: asked, rand: rand.New(rand.NewPCG(asked.seed, 0)), struck: map[string]int{}, started: time.Now(), //nolint:gosec // reproducible, not secret
	}
	s.say("SEED=%d DURATION=%s WRITERS=%d", s.seed, s.duration, s.writers)
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.setUp(ctx); err != nil {
		return err
	}
	for n := 1; n == 1 || time.Since(s.started) < s.duration; n++ {
		r := newRound(s, n)
		if err := r.run(ctx); err != nil {
			err = fmt.Errorf("round %d, SEED=%d: %w", n, s.seed, err)
			err = errors.Join(err, r.explain(context.WithoutCancel(ctx)))
			s.linger(ctx, err)
			return err
		}
	}
	s.say("equal after every round; faults: %v", s.struck)
	return nil
}

func (s *soak) say(format string, args ...any) {
	_, _ = fmt.Printf("%7.1fs  %s\n", time.Since(s.started).Seconds(), fmt.Sprintf(format, args...)) //nolint:forbidigo // the program's output
}

// linger leaves a failed soak to be looked at.
func (s *soak) linger(ctx context.Context, failure error) {
	if !s.keep {
		return
	}
	s.say("%v", failure)
	s.say("kept until interrupted:\n  source       %s\n  destination  %s\n  daemon       %s, log %s",
		s.source.SocketString("shop"), s.destination.SocketString("postgres"), s.Daemon.SocketString(), s.Daemon.LogFile())
	<-ctx.Done()
}

func (s *soak) setUp(ctx context.Context) (err error) {
	config := map[string]string{
		"shared_buffers": "128MB", "max_wal_size": "1GB", "checkpoint_timeout": "30s", "autovacuum_naptime": "10s",
		"max_connections": strconv.Itoa(s.writers + 60), "max_prepared_transactions": strconv.Itoa(s.writers),
		"logical_decoding_work_mem": "64kB", // so that not only the largest transactions exceed it
		"wal_sender_timeout":        "10s", "wal_receiver_timeout": "10s", "deadlock_timeout": "200ms",
	}
	server := testenv.Config{Settings: config}
	if s.Trio, err = testenv.NewTrio(ctx, server, server); err != nil {
		return err
	}
	if s.source, err = newParty(ctx, "source", s.Source); err != nil {
		return err
	}
	if s.destination, err = newParty(ctx, "destination", s.Destination); err != nil {
		return err
	}
	return shop.CreateDatabase(ctx, s.Source, 1)
}

func newParty(ctx context.Context, name string, cluster *testenv.Cluster) (*party, error) {
	proxy, err := testenv.NewProxy(ctx, cluster.Addr())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &party{cluster, name, proxy}, nil
}

// through is a connection string that goes through the party's proxy.
func (p *party) through(db string) string {
	host, port := p.proxy.Addr()
	_, rest, _ := strings.Cut(p.ConnString(db), " dbname=")
	return fmt.Sprintf("host=%s port=%d dbname=%s", host, port, rest)
}

func (s *soak) close() error {
	var errs []error
	for _, p := range []*party{s.destination, s.source} {
		if p != nil {
			errs = append(errs, p.proxy.Close())
		}
	}
	return errors.Join(append(errs, s.Close())...)
}
