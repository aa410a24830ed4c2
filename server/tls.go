package server

import (
	"context"
	"crypto"
	_ "crypto/sha256" // the hash functions channel binding asks for by name
	_ "crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// alpn is the application protocol of PostgreSQL, required where TLS begins without an SSLRequest.
const alpn = "postgresql"

// startTLS does the handshake; begun is what has been read of it already. As in PostgreSQL there is no session resumption, so every
// handshake shows a certificate, which channel binding then refers to.
func (s *Server) startTLS(ctx context.Context, st *startup, begun []byte, direct bool) error {
	if s.cfg.TLS == nil {
		return errors.New("TLS is not configured")
	}
	var shown *tls.Certificate
	cfg := s.cfg.TLS.Clone()
	cfg.NextProtos = []string{alpn}
	cfg.SessionTicketsDisabled = true
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	cfg.Certificates = nil
	cfg.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		var err error
		shown, err = pickCertificate(s.cfg.TLS, hello)
		return shown, err
	}
	conn := tls.Server(&begunConn{Conn: asSocket(st.conn), begun: begun}, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	if direct && conn.ConnectionState().NegotiatedProtocol != alpn {
		return errors.New("direct TLS connection without ALPN protocol " + alpn)
	}
	st.conn, st.secure = conn, true
	binding, err := endPointBinding(shown)
	if err != nil {
		s.log.Warn("channel binding is not offered", "error", err)
	}
	st.binding = binding
	return nil
}

// pickCertificate chooses a certificate as crypto/tls would.
func pickCertificate(cfg *tls.Config, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cfg.GetCertificate != nil {
		if cert, err := cfg.GetCertificate(hello); cert != nil || err != nil {
			return cert, err
		}
	}
	if len(cfg.Certificates) == 0 {
		return nil, errors.New("no certificate is configured")
	}
	for i := range cfg.Certificates {
		if hello.SupportsCertificate(&cfg.Certificates[i]) == nil {
			return &cfg.Certificates[i], nil
		}
	}
	return &cfg.Certificates[0], nil
}

// endPointBinding returns the tls-server-end-point data of our certificate (RFC 5929, section 4.1): its hash, by the hash function of
// its signature, but SHA-256 for MD5 and SHA-1.
func endPointBinding(cert *tls.Certificate) ([]byte, error) {
	if cert == nil || len(cert.Certificate) == 0 {
		return nil, errors.New("no certificate was shown")
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil, err
	}
	hash := crypto.SHA256
	switch leaf.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256:
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		hash = crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		hash = crypto.SHA512
	default:
		return nil, fmt.Errorf("certificate signed by %s has no hash function for it", leaf.SignatureAlgorithm)
	}
	h := hash.New()
	h.Write(leaf.Raw)
	return h.Sum(nil), nil
}

// begunConn is a connection of which some bytes have been read already.
type begunConn struct {
	net.Conn
	begun []byte
}

// Read returns those bytes first.
func (c *begunConn) Read(p []byte) (int, error) {
	if len(c.begun) > 0 {
		n := copy(p, c.begun)
		c.begun = c.begun[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}
