package endpoint

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
)

// tlsSettings is what the ssl keywords ask for, with libpq's meaning:
// https://www.postgresql.org/docs/current/libpq-ssl.html.
type tlsSettings struct {
	mode        string // disable … verify-full
	negotiation string // postgres or direct
	certMode    string // disable, allow or require
	noSNI       bool
	system      bool           // sslrootcert=system
	roots       *x509.CertPool // nil: none given
	rootPEM     []byte
	certificate *tls.Certificate
	certPEM     []byte
	keyPEM      []byte // decrypted
	keySecret   string // sslpassword
	minimum     uint16
	maximum     uint16
}

func readTLS(values map[string]string, f files, inlineCA string) (tlsSettings, error) {
	t := tlsSettings{
		mode:        values["sslmode"],
		negotiation: values["sslnegotiation"],
		certMode:    values["sslcertmode"],
		noSNI:       values["sslsni"] == "0",
		keySecret:   values["sslpassword"],
		minimum:     tlsVersion(values["ssl_min_protocol_version"]),
		maximum:     tlsVersion(values["ssl_max_protocol_version"]),
	}
	if t.mode == "" {
		t.mode = "prefer"
	}
	if t.certMode == "" {
		t.certMode = "allow"
	}
	if t.minimum != 0 && t.maximum != 0 && t.minimum > t.maximum {
		return t, invalid("ssl_min_protocol_version", "is greater than ssl_max_protocol_version")
	}
	if err := t.readRoots(values["sslrootcert"], f, inlineCA); err != nil {
		return t, err
	}
	if t.negotiation == "direct" && (t.mode == "disable" || t.mode == "allow" || t.mode == "prefer") {
		if values["sslmode"] != "" {
			return t, invalid("sslnegotiation", "direct needs sslmode=require or stronger")
		}
		t.mode = "require"
	}
	return t, t.readCertificate(values["sslcert"], values["sslkey"], f)
}

func (t *tlsSettings) readRoots(path string, f files, inline string) (err error) {
	switch {
	case path != "" && inline != "":
		return invalid("sslrootcert", "a CA certificate is also given inline")
	case path == "system":
		// Weaker modes would accept a certificate of any public CA for any host.
		t.system, t.mode = true, "verify-full"
		t.roots, err = x509.SystemCertPool()
		if err != nil {
			return invalid("sslrootcert", "the system's CA certificates: %v", err)
		}
		return nil
	case inline != "":
		t.rootPEM = []byte(inline)
		if len(t.rootPEM) > maxFile {
			return invalid("sslrootcert", "the CA certificate is larger than %d bytes", maxFile)
		}
	case path != "":
		if t.rootPEM, _, err = f.read("sslrootcert", path); err != nil {
			return err
		}
	default:
		if t.mode == "verify-ca" || t.mode == "verify-full" {
			return invalid("sslmode", "%s needs a CA certificate: give sslrootcert, or sslrootcert=system", t.mode)
		}
		return nil
	}
	t.roots = x509.NewCertPool()
	if !t.roots.AppendCertsFromPEM(t.rootPEM) {
		return invalid("sslrootcert", "holds no CA certificate in PEM form")
	}
	return nil
}

func (t *tlsSettings) readCertificate(certPath, keyPath string, f files) (err error) {
	if t.certMode == "disable" || certPath == "" && keyPath == "" {
		return nil
	}
	if certPath == "" || keyPath == "" {
		return invalid("sslcert", "sslcert and sslkey are needed together")
	}
	if t.certPEM, _, err = f.read("sslcert", certPath); err != nil {
		return err
	}
	key, mode, err := f.read("sslkey", keyPath)
	if err != nil {
		return err
	}
	if mode&0o037 != 0 {
		return invalid("sslkey", "the file must not be accessible to others (chmod 0600)")
	}
	if t.keyPEM, err = decryptKey(key, t.keySecret); err != nil {
		return err
	}
	certificate, err := tls.X509KeyPair(t.certPEM, t.keyPEM)
	if err != nil {
		return invalid("sslcert", "certificate and key: %v", err)
	}
	t.certificate = &certificate
	return nil
}

// decryptKey opens the legacy PEM encryption, the only one the Go standard
// library can; PKCS#8 encryption is refused by name.
func decryptKey(key []byte, secret string) ([]byte, error) {
	block, _ := pem.Decode(key)
	switch {
	case block == nil:
		return nil, invalid("sslkey", "holds no private key in PEM form")
	case block.Type == "ENCRYPTED PRIVATE KEY":
		return nil, invalid("sslkey", "keys encrypted with PKCS#8 are not supported: decrypt the file, or use openssl rsa -aes256 -traditional")
	case !x509.IsEncryptedPEMBlock(block): //nolint:staticcheck // PostgreSQL users have such keys
		return key, nil
	case secret == "":
		return nil, invalid("sslpassword", "is required: the key is encrypted")
	}
	plain, err := x509.DecryptPEMBlock(block, []byte(secret)) //nolint:staticcheck // as above
	if err != nil {
		return nil, invalid("sslpassword", "does not decrypt the key")
	}
	return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: plain}), nil
}

// attempts returns the TLS configurations to try in order for one host; nil is
// an attempt without TLS.
func (t *tlsSettings) attempts(h host) []*tls.Config {
	if h.socket() || t.mode == "disable" {
		return []*tls.Config{nil}
	}
	config := &tls.Config{MinVersion: t.minimum, MaxVersion: t.maximum, RootCAs: t.roots}
	if config.MinVersion == 0 {
		config.MinVersion = tls.VersionTLS12
	}
	if !t.noSNI && net.ParseIP(h.name) == nil {
		config.ServerName = h.name
	}
	if t.certificate != nil {
		config.Certificates = []tls.Certificate{*t.certificate}
	}
	if t.negotiation == "direct" {
		config.NextProtos = []string{"postgresql"}
	}
	switch {
	case t.mode == "verify-full":
		// Chain and name are verified below rather than by the handshake itself,
		// because the name counts even where SNI is off.
		config.InsecureSkipVerify = true
		config.VerifyConnection = verifyChain(t.roots, h.name)
	case t.mode == "verify-ca", t.mode == "require" && t.roots != nil:
		config.InsecureSkipVerify = true
		config.VerifyConnection = verifyChain(t.roots, "")
	default:
		config.InsecureSkipVerify = true // encryption without authentication is what these modes ask for
	}
	switch t.mode {
	case "allow":
		return []*tls.Config{nil, config}
	case "prefer":
		return []*tls.Config{config, nil}
	default:
		return []*tls.Config{config}
	}
}

// verifyChain verifies the server's certificate against roots and, unless name
// is empty, against the name.
func verifyChain(roots *x509.CertPool, name string) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the server sent no certificate")
		}
		options := x509.VerifyOptions{Roots: roots, DNSName: name, Intermediates: x509.NewCertPool()}
		for _, certificate := range state.PeerCertificates[1:] {
			options.Intermediates.AddCert(certificate)
		}
		_, err := state.PeerCertificates[0].Verify(options)
		return err
	}
}

var tlsNames = map[string]uint16{
	"TLSv1": tls.VersionTLS10, "TLSv1.1": tls.VersionTLS11,
	"TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13,
}

func tlsVersion(name string) uint16 { return tlsNames[name] }

// versionName is the inverse of tlsVersion.
func versionName(version uint16) string {
	for name, number := range tlsNames {
		if number == version {
			return name
		}
	}
	return ""
}
