package server

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"pgsyncd/sqlapi"

	"github.com/jackc/pgproto3/v2"
)

// Request codes that stand in the place of a protocol version, see "SSL Session Encryption" and the following sections of the
// chapter "Message Flow" of PostgreSQL's documentation.
const (
	codeCancelRequest = 1234<<16 | 5678
	codeSSLRequest    = 1234<<16 | 5679
	codeGSSRequest    = 1234<<16 | 5680

	protocol3      = 3 << 16 // version 3.0, the newest we speak
	tlsHandshake   = 0x16    // first byte of a TLS connection; a start-up packet of that length would exceed the limit
	cancelBodySize = 12
)

// errCancelServed ends a connection that only brought a cancel request.
var errCancelServed = errors.New("cancel request served")

// startup is what is known of a connection when it asks for a session.
type startup struct {
	conn    net.Conn // with TLS around it where the client asked for it
	local   bool     // through the Unix socket
	secure  bool     // TLS
	binding []byte   // tls-server-end-point data of our certificate; nil when there is none

	minor  int // of the protocol version asked for
	params map[string]string
}

// negotiate reads start-up packets until one asks for a session. On the way it declines GSSAPI encryption, does a TLS handshake,
// and serves a cancel request. Nothing is read beyond the packet at hand, so bytes that somebody put between an SSLRequest and the
// handshake become a part of the handshake and fail it; they are never taken for the client's encrypted words (CVE-2021-23222).
func (s *Server) negotiate(ctx context.Context, conn net.Conn) (*startup, error) {
	_, local := conn.(*net.UnixConn)
	st := &startup{conn: conn, local: local}
	var first [1]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		return st, err
	}
	begun := first[:]
	if first[0] == tlsHandshake && !local {
		if err := s.startTLS(ctx, st, begun, true); err != nil {
			return st, err
		}
		begun = nil
	}
	asked := map[uint32]bool{codeSSLRequest: st.secure, codeGSSRequest: st.secure}
	for {
		packet, err := readStartup(st.conn, begun)
		if err != nil {
			return st, err
		}
		begun = nil
		code := binary.BigEndian.Uint32(packet)
		if asked[code] {
			return st, protocolError("encryption was requested twice")
		}
		switch code {
		case codeSSLRequest:
			asked[code] = true
			if s.cfg.TLS == nil || local {
				_, err = st.conn.Write([]byte{'N'})
			} else if _, err = st.conn.Write([]byte{'S'}); err == nil {
				err = s.startTLS(ctx, st, nil, false)
				asked[codeGSSRequest] = true
			}
		case codeGSSRequest:
			asked[code] = true
			_, err = st.conn.Write([]byte{'N'})
		case codeCancelRequest:
			return st, s.serveCancel(ctx, packet)
		default:
			return st, s.readVersion(st, code, packet[4:])
		}
		if err != nil {
			return st, err
		}
	}
}

// readStartup reads a packet that has no type, and returns it without its length. It begins with a code of four bytes.
func readStartup(conn net.Conn, begun []byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(conn, head[copy(head[:], begun):]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 8 || size > maxLoginFrame {
		return nil, protocolError("invalid length of startup packet")
	}
	packet := make([]byte, size-4)
	if _, err := io.ReadFull(conn, packet); err != nil {
		return nil, err
	}
	return packet, nil
}

// readVersion takes in a start-up message of the given protocol version.
func (s *Server) readVersion(st *startup, version uint32, body []byte) error {
	switch major := version >> 16; major {
	case protocol3 >> 16:
	case 1, 2:
		return sqlapi.Errorf(sqlapi.CodeUnsupported, "unsupported frontend protocol %d.%d: server supports 3.0 to 3.0", major, version&0xffff)
	default:
		return protocolError("invalid startup packet: unknown request code %d", version)
	}
	st.minor = int(version & 0xffff)
	params, err := parseParams(body)
	if err != nil {
		return err
	}
	st.params = params
	if s.cfg.TLSRequired && !st.secure && !st.local {
		return sqlapi.Errorf(codeNotAuthorized, "this server accepts TLS connections only").WithHint("Connect with sslmode=require or stricter.")
	}
	var unknown []string
	for name := range params {
		if strings.HasPrefix(name, "_pq_.") {
			unknown = append(unknown, name)
		}
	}
	if st.minor == 0 && unknown == nil {
		return nil
	}
	slices.Sort(unknown)
	_, err = st.conn.Write(negotiateVersion(unknown))
	return err
}

// negotiateVersion encodes NegotiateProtocolVersion, which the encoding library does not have: the version we speak and the options
// we do not know.
func negotiateVersion(unknown []string) []byte {
	frame := binary.BigEndian.AppendUint32([]byte{'v', 0, 0, 0, 0}, protocol3)
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(unknown)))
	for _, name := range unknown {
		frame = append(append(frame, name...), 0)
	}
	binary.BigEndian.PutUint32(frame[1:], uint32(len(frame)-1))
	return frame
}

// parseParams reads the names and values of a start-up message, which end with an empty name.
func parseParams(body []byte) (map[string]string, error) {
	params := map[string]string{}
	for {
		name, rest, ok := bytes.Cut(body, []byte{0})
		switch {
		case !ok:
			return nil, protocolError("invalid startup packet layout: expected terminator as last byte")
		case len(name) == 0 && len(rest) > 0:
			return nil, protocolError("invalid startup packet layout: expected terminator as last byte")
		case len(name) == 0:
			return params, nil
		}
		value, rest, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			return nil, protocolError("invalid startup packet layout: expected terminator as last byte")
		}
		params[string(name)] = string(value)
		body = rest
	}
}

// serveCancel handles CancelRequest. As in PostgreSQL there is no answer; the connection is closed when the request has had
// its effect.
func (s *Server) serveCancel(ctx context.Context, packet []byte) error {
	if len(packet) != cancelBodySize {
		return protocolError("invalid length of cancel request")
	}
	pid, key := binary.BigEndian.Uint32(packet[4:]), packet[8:]
	s.mu.Lock()
	c := s.sessions[pid]
	s.mu.Unlock()
	if c == nil || subtle.ConstantTimeCompare(key, binary.BigEndian.AppendUint32(nil, c.key)) != 1 {
		return fmt.Errorf("cancel request with a wrong key for session %d", pid)
	}
	c.cancelStatement(ctx)
	return errCancelServed
}

// clientParams are the parameters of a start-up message that are passed on to the catalog. Others are refused, because a session
// that silently ignores what it was asked for misleads its client.
var clientParams = []string{
	"application_name", "client_encoding", "client_min_messages", "datestyle", "intervalstyle", "timezone", "extra_float_digits",
	"bytea_output", "standard_conforming_strings", "search_path", "statement_timeout", "lock_timeout",
	"idle_in_transaction_session_timeout", "geqo",
}

// sessionParams returns what of the start-up parameters is for the catalog.
func sessionParams(params map[string]string) (map[string]string, error) {
	kept := map[string]string{}
	for name, value := range params {
		switch lower := strings.ToLower(name); {
		case name == "user", name == "database", strings.HasPrefix(name, "_pq_."):
		case name == "replication":
			if !slices.Contains([]string{"", "false", "off", "no", "0"}, strings.ToLower(value)) {
				return nil, sqlapi.Errorf(sqlapi.CodeUnsupported, "replication connections are not supported")
			}
		case name == "options" && strings.TrimSpace(value) == "":
		case slices.Contains(clientParams, lower):
			kept[name] = value
		default:
			return nil, sqlapi.Errorf(sqlapi.CodeUnsupported, "start-up parameter %q is not supported", name).
				WithHint("Use SET once you are connected.")
		}
	}
	return kept, nil
}

// greeting encodes what PostgreSQL says after authentication.
func greeting(c *session) []byte {
	names := make([]string, 0, len(c.backend.ParameterStatuses))
	for name := range c.backend.ParameterStatuses {
		names = append(names, name)
	}
	slices.Sort(names)
	var frames []byte
	for _, name := range names {
		frames = encode(frames, &pgproto3.ParameterStatus{Name: name, Value: c.backend.ParameterStatuses[name]})
	}
	return encode(frames, &pgproto3.BackendKeyData{ProcessID: c.pid, SecretKey: c.key}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
}
