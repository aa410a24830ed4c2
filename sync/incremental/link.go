package incremental

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

const (
	statusInterval = 10 * time.Second // the source hears from us at least so often, and is asked for an answer
	confirmDelay   = 200 * time.Millisecond
	confirmPause   = 5 * time.Millisecond // between two statuses of a stream that has caught up
	silenceLimit   = 3 * time.Minute      // without a byte from the source the link counts as dead
	closeTimeout   = 5 * time.Second
)

// link is the replication connection after START_REPLICATION. One goroutine reads (receive), another writes (report);
// neither waits for the other, so a source is answered however long the applier takes.
type link struct {
	conn     net.Conn
	frontend *pgproto3.Frontend
	wide     bool // it reads much at once
	decode   decoder
	in       *intake
	interval time.Duration // the source hears from us at least so often
	urgent   chan struct{} // capacity 1: a status is wanted now
	closing  sync.Once
}

// startLink starts streaming from the slot at position from.
func startLink(ctx context.Context, conn *pgconn.PgConn, slot string, from pglogrepl.LSN, d decoder, in *intake) (*link, error) {
	var arguments []string // the replication grammar has no parameters
	for pair := range slices.Chunk(d.options(), 2) {
		arguments = append(arguments, pgx.Identifier{pair[0]}.Sanitize()+" "+schema.Literal(pair[1]))
	}
	options := pglogrepl.StartReplicationOptions{PluginArgs: arguments}
	if err := pglogrepl.StartReplication(ctx, conn, pgx.Identifier{slot}.Sanitize(), from, options); err != nil {
		return nil, fmt.Errorf("start replication from slot %s at %s: %w", slot, from, err)
	}
	hijacked, err := conn.Hijack()
	if err != nil {
		return nil, fmt.Errorf("start replication from slot %s: %w", slot, err)
	}
	return &link{conn: hijacked.Conn, frontend: hijacked.Frontend, decode: d, in: in, interval: statusInterval, urgent: make(chan struct{}, 1)}, nil
}

// receive feeds what the source sends until ctx ends, the link fails, or late says so after a transaction (errLate).
func (l *link) receive(ctx context.Context, late func() bool) error {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = l.conn.SetReadDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	defer func() {
		if !stop() {
			<-interrupted // the deadline is finish's to set from now on
		}
	}()
	var deadline time.Time
	out := l.in.sink(ctx)
	for {
		if now := time.Now(); deadline.Sub(now) < silenceLimit/2 && ctx.Err() == nil {
			deadline = now.Add(silenceLimit)
			if err := l.conn.SetReadDeadline(deadline); err != nil {
				return fmt.Errorf("receive from source: %w", err)
			}
			if ctx.Err() != nil { // the deadline that its end set may have been set before this one
				return context.Cause(ctx)
			}
		}
		l.widen()
		message, err := l.frontend.Receive()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = fmt.Errorf("nothing heard for %s: %w", silenceLimit, err)
			}
			return fmt.Errorf("receive from source: %w", err)
		}
		switch m := message.(type) {
		case *pgproto3.CopyData:
			before := l.in.commits
			if err := l.copyData(ctx, m.Data, out); err != nil {
				return err
			}
			if l.in.commits > before && late() {
				return errLate
			}
		case *pgproto3.ErrorResponse:
			return fmt.Errorf("receive from source: %w", pgconn.ErrorResponseToPgError(m))
		case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus:
		case *pgproto3.CopyDone, *pgproto3.CommandComplete: // it shuts down
			return fmt.Errorf("receive from source: the source ended the stream: %w", io.ErrUnexpectedEOF)
		default:
			return fmt.Errorf("receive from source: unexpected %T", m)
		}
	}
}

// copyData handles one message of the streaming replication protocol.
func (l *link) copyData(ctx context.Context, data []byte, out func(event) error) error {
	switch {
	case len(data) == 18 && data[0] == pglogrepl.PrimaryKeepaliveMessageByteID:
		end := pglogrepl.LSN(binary.BigEndian.Uint64(data[1:]))
		reply := data[17] != 0
		if reply {
			signal(l.urgent)
		}
		l.decode.passed(end)
		return l.in.position(ctx, end, reply)
	case len(data) >= 25 && data[0] == pglogrepl.XLogDataByteID:
		return l.decode.decode(ctx, pglogrepl.LSN(binary.BigEndian.Uint64(data[1:])), l.in.keep(data[25:]), out)
	}
	return permanentf("receive from source: unknown replication message of %d bytes", len(data))
}

// report tells the source what is durable: soon after that moved, at once when asked or when the stream has caught up, and regularly. A
// walsender that knows that everything has arrived does not ask before it sends what comes next.
func (l *link) report(ctx context.Context, p *progress) error {
	ticker := time.NewTicker(confirmDelay)
	defer ticker.Stop()
	var sent Progress
	var last time.Time
	for soon := false; ; {
		ask := time.Since(last) >= l.interval
		now := p.read()
		if ask || now.Confirmed != sent.Confirmed && (!soon || time.Since(last) >= confirmPause) {
			if err := l.status(now, ask); err != nil {
				return err
			}
			sent, last = now, time.Now()
		}
		soon = false
		select {
		case <-ticker.C:
		case <-p.settled:
			soon = true
		case <-l.urgent:
			sent, last = Progress{}, time.Time{}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// status sends a Standby status update. The flush position is what the source may forget: never more than the ledger of the
// destination holds.
func (l *link) status(p Progress, ask bool) error {
	body := make([]byte, 0, 64)
	body = append(body, pglogrepl.StandbyStatusUpdateByteID)
	body = binary.BigEndian.AppendUint64(body, uint64(p.Received))
	body = binary.BigEndian.AppendUint64(body, uint64(p.Confirmed))
	body = binary.BigEndian.AppendUint64(body, uint64(p.Confirmed))
	body = binary.BigEndian.AppendUint64(body, uint64(time.Since(postgresEpoch).Microseconds()))
	if ask {
		body = append(body, 1)
	} else {
		body = append(body, 0)
	}
	return l.send(&pgproto3.CopyData{Data: body})
}

var postgresEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (l *link) send(m pgproto3.FrontendMessage) error {
	frame, err := m.Encode(nil)
	if err == nil {
		err = l.conn.SetWriteDeadline(time.Now().Add(silenceLimit))
	}
	if err == nil {
		_, err = l.conn.Write(frame)
	}
	if err != nil {
		return fmt.Errorf("send to source: %w", err)
	}
	return nil
}

// finish confirms a last time and waits until the source has taken note and released the slot. The goroutines of the link
// have ended.
func (l *link) finish(p Progress) error {
	if err := l.conn.SetReadDeadline(time.Now().Add(closeTimeout)); err != nil {
		return fmt.Errorf("end stream: %w", err)
	}
	if err := l.status(p, false); err != nil {
		return err
	}
	if err := l.send(&pgproto3.CopyDone{}); err != nil {
		return err
	}
	for {
		message, err := l.frontend.Receive()
		if err != nil {
			return fmt.Errorf("end stream: %w", err)
		}
		switch m := message.(type) {
		case *pgproto3.ReadyForQuery:
			return nil
		case *pgproto3.ErrorResponse:
			return fmt.Errorf("end stream: %w", pgconn.ErrorResponseToPgError(m))
		default: // what was still on its way
		}
	}
}

// close ends the connection.
func (l *link) close() {
	l.closing.Do(func() {
		_ = l.conn.SetWriteDeadline(time.Now().Add(closeTimeout))
		if frame, err := (&pgproto3.Terminate{}).Encode(nil); err == nil {
			_, _ = l.conn.Write(frame)
		}
		_ = l.conn.Close()
	})
}
