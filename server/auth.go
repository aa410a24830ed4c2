package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"pgsyncd/sqlapi"

	"github.com/jackc/pgproto3/v2"
	wire "github.com/jackc/pgx/v5/pgproto3"
	"github.com/xdg-go/scram"
)

// The SASL mechanisms we offer; the second only over TLS.
const (
	mechanism     = "SCRAM-SHA-256"
	mechanismPlus = "SCRAM-SHA-256-PLUS"
)

// Dimensions of PostgreSQL's own verifiers, which the made-up ones of unknown users have, too.
const (
	scramIterations = 4096
	scramSaltSize   = 16
	scramKeySize    = sha256.Size
)

// localUser is the only user the Unix socket admits.
const localUser = "admin"

// authenticate finds out what the client may do. Whoever gives a wrong password learns nothing but that, not even whether the
// user exists.
func (s *Server) authenticate(ctx context.Context, st *startup) (sqlapi.Privilege, error) {
	user := st.params["user"]
	if user == "" {
		return "", sqlapi.Errorf(codeNotAuthorized, "no PostgreSQL user name specified in startup packet")
	}
	if conn, ok := st.conn.(*net.UnixConn); ok {
		return sqlapi.Admin, authenticatePeer(conn, user)
	}
	credential, known, err := s.backend.Credential(ctx, user)
	if err != nil {
		s.log.Error("user could not be looked up", "user", user, "error", err)
		return "", sqlapi.Errorf(codeCannotConnect, "the catalog database is not available now")
	}
	stored, err := parseVerifier(credential.Verifier)
	if known && err != nil {
		s.log.Error("stored verifier is not usable", "user", user, "error", err)
	}
	if !known || err != nil {
		known, stored = false, s.mockVerifier(user)
	}
	if err := s.exchange(st, stored); err != nil || !known {
		s.log.Warn("password authentication did not succeed", "user", user, "remote", st.conn.RemoteAddr().String(), "error", err)
		if e, ok := errors.AsType[*sqlapi.Error](err); ok && e.Code == codeProtocol {
			return "", e
		}
		return "", sqlapi.Errorf(codeWrongPassword, "password authentication failed for user %q", user)
	}
	return credential.Privilege, nil
}

// authenticatePeer admits the daemon's own operating system user, and root.
func authenticatePeer(conn *net.UnixConn, user string) error {
	uid, err := peerUID(conn)
	if err != nil {
		return fmt.Errorf("identify peer: %w", err)
	}
	if uid != 0 && uid != uint32(os.Geteuid()) {
		return sqlapi.Errorf(codeNotAuthorized, "peer authentication failed for user %q", user).
			WithHint("The Unix socket admits root and the operating system user of the daemon. Others connect by TCP.")
	}
	if user != localUser {
		return sqlapi.Errorf(codeNotAuthorized, "the Unix socket admits only the user %q", localUser).
			WithHint("Connect with -U %s, or by TCP.", localUser)
	}
	return nil
}

// exchange runs SCRAM (RFC 5802, RFC 7677) with a client up to the server's final message.
func (s *Server) exchange(st *startup, stored scram.StoredCredentials) error {
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	if err != nil {
		return err
	}
	offered := []string{mechanism}
	conversation := server.NewConversation()
	if st.binding != nil {
		offered = []string{mechanismPlus, mechanism}
		conversation = server.NewConversationWithChannelBinding(
			scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: st.binding})
	}
	if _, err := st.conn.Write(encode(nil, &pgproto3.AuthenticationSASL{AuthMechanisms: offered})); err != nil {
		return err
	}
	body, err := readPassword(st.conn)
	if err != nil {
		return err
	}
	var initial wire.SASLInitialResponse
	if err := initial.Decode(body); err != nil {
		return protocolError("malformed SASL message")
	}
	if bound := strings.HasPrefix(string(initial.Data), "p="); bound != (initial.AuthMechanism == mechanismPlus) ||
		initial.AuthMechanism != mechanism && initial.AuthMechanism != mechanismPlus {
		return protocolError("client selected an invalid SASL authentication mechanism")
	}
	challenge, err := conversation.Step(string(initial.Data))
	if err != nil {
		return err
	}
	if conversation.AuthzID() != "" {
		return errors.New("client uses an authorization identity")
	}
	if _, err := st.conn.Write(encode(nil, &pgproto3.AuthenticationSASLContinue{Data: []byte(challenge)})); err != nil {
		return err
	}
	body, err = readPassword(st.conn)
	if err != nil {
		return err
	}
	final, err := conversation.Step(string(body))
	if err != nil {
		return err
	}
	_, err = st.conn.Write(encode(nil, &pgproto3.AuthenticationSASLFinal{Data: []byte(final)}))
	return err
}

// readPassword reads a frame of type p, the only one that is taken before login.
func readPassword(conn net.Conn) ([]byte, error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, err
	}
	if head[0] != 'p' {
		return nil, protocolError("expected SASL response, got message type %d", head[0])
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size < 4 || size > maxLoginFrame {
		return nil, protocolError("invalid message length")
	}
	body := make([]byte, size-4)
	_, err := io.ReadFull(conn, body)
	return body, err
}

// parseVerifier reads a verifier as PostgreSQL stores it: SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey.
func parseVerifier(text string) (scram.StoredCredentials, error) {
	var none scram.StoredCredentials
	parts := strings.FieldsFunc(text, func(r rune) bool { return r == '$' || r == ':' })
	if len(parts) != 5 || parts[0] != mechanism {
		return none, errors.New("no SCRAM-SHA-256 verifier")
	}
	iterations, err := strconv.Atoi(parts[1])
	if err != nil || iterations < 1 {
		return none, errors.New("invalid iteration count in verifier")
	}
	var decoded [3][]byte
	for i, part := range parts[2:] {
		if decoded[i], err = base64.StdEncoding.DecodeString(part); err != nil {
			return none, errors.New("invalid base64 in verifier")
		}
	}
	if len(decoded[1]) != scramKeySize || len(decoded[2]) != scramKeySize {
		return none, errors.New("invalid key length in verifier")
	}
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(decoded[0]), Iters: iterations}, StoredKey: decoded[1], ServerKey: decoded[2],
	}, nil
}

// mockVerifier makes up a verifier that no password fits. Its salt is the same whenever the user tries.
func (s *Server) mockVerifier(user string) scram.StoredCredentials {
	derive := func(purpose string) []byte {
		mac := hmac.New(sha256.New, s.cfg.MockSecret)
		mac.Write([]byte(purpose + "\x00" + user))
		return mac.Sum(nil)
	}
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(derive("salt")[:scramSaltSize]), Iters: scramIterations},
		StoredKey:  derive("stored key"), ServerKey: derive("server key"),
	}
}
