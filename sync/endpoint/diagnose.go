package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// Diagnosis explains an error to the person who configured the endpoint.
type Diagnosis struct {
	Cause   string // a few words, one of the Cause constants
	Code    string // SQLSTATE; 08001 when the server was not reached
	Message string // as the server or the network reported it
	Detail  string
	Hint    string // what to do, with the exact statement or line where there is one
}

// The causes that Diagnose knows.
const (
	CauseConnInfo      = "invalid connection string"
	CauseUnreachable   = "unreachable"
	CauseUnknownHost   = "unknown host"
	CauseRefused       = "refused"
	CauseNoSocket      = "no such socket"
	CauseTimeout       = "timeout"
	CauseClosed        = "connection closed by the server"
	CauseNoHBA         = "no pg_hba entry"
	CauseWrongPassword = "wrong password"
	CauseAuth          = "authentication failed"
	CauseNoRole        = "no such role"
	CauseNoLogin       = "no LOGIN"
	CauseNoDatabase    = "no such database"
	CauseNoConnect     = "no CONNECT privilege"
	CauseNoReplication = "no REPLICATION"
	CauseTooMany       = "too many connections"
	CauseNotReady      = "server not ready"
	CauseNoTLS         = "TLS not offered"
	CauseInvalidCA     = "invalid CA"
	CauseHostName      = "certificate of another host"
	CauseCertificate   = "certificate not valid"
	CauseTLS           = "TLS failed"
	CauseSession       = "not the kind of server asked for"
	CauseCancelled     = "cancelled"
	CauseOther         = "error"
)

// Diagnose names the cause of an error. Of the attempts of one connection it
// takes the one that came furthest.
func Diagnose(err error) Diagnosis {
	if err == nil {
		return Diagnosis{}
	}
	var connect *ConnectError
	errors.As(err, &connect)
	best, rank := Diagnosis{}, -1
	for _, attempt := range attempts(err) {
		if d, r := diagnoseOne(attempt, connect); r > rank {
			best, rank = d, r
		}
	}
	if connect != nil {
		best.Message = connect.endpoint.Redact(best.Message)
		best.Detail = connect.endpoint.Redact(best.Detail)
	}
	return best
}

// attempts flattens errors.Join; what is not joined is one attempt.
func attempts(err error) []error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		joined, ok := e.(interface{ Unwrap() []error })
		if !ok {
			continue
		}
		var all []error
		for _, part := range joined.Unwrap() {
			all = append(all, attempts(part)...)
		}
		return all
	}
	return []error{err}
}

// diagnoseOne also returns how far the attempt came: 0 not to the server, 1 to
// TLS, 2 to PostgreSQL.
func diagnoseOne(err error, connect *ConnectError) (Diagnosis, int) {
	d := Diagnosis{Code: "08001", Message: message(err)}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		d.Code, d.Message, d.Detail, d.Hint = pgErr.Code, pgErr.Message, pgErr.Detail, pgErr.Hint
		d.fromServer(pgErr, connect)
		return d, 2
	}
	if d.fromTLS(err, connect) {
		return d, 1
	}
	_, badString := errors.AsType[*ConnInfoError](err)
	dns, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(err, context.Canceled):
		d.Cause, d.Code = CauseCancelled, "57014"
		return d, 3
	case badString:
		d.Cause, d.Code, d.Message = CauseConnInfo, "22023", err.Error()
	case isDNS:
		d.Cause, d.Message = CauseUnknownHost, fmt.Sprintf("host %s: %s", dns.Name, dns.Err)
		d.Hint = "Check the spelling of the host and the name servers of this machine."
	case errors.Is(err, syscall.ECONNREFUSED):
		d.Cause = CauseRefused
		d.Hint = "Check the port, that the server runs, and its listen_addresses."
	case errors.Is(err, syscall.ENOENT):
		d.Cause = CauseNoSocket
		d.Hint = "Check the directory, the port, and unix_socket_directories of the server."
	case pgconn.Timeout(err) || errors.Is(err, context.DeadlineExceeded):
		d.Cause = CauseTimeout
		d.Hint = "Check address, port and the firewalls between this machine and the server; connect_timeout limits the wait."
	case errors.Is(err, pgconn.ErrReadOnlyConnection), errors.Is(err, pgconn.ErrReadWriteConnection),
		errors.Is(err, pgconn.ErrPrimaryConnection), errors.Is(err, pgconn.ErrStandbyConnection):
		d.Cause = CauseSession
		d.Hint = "Check target_session_attrs and which of the hosts is the primary."
		return d, 1
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), errors.Is(err, pgconn.ErrConnClosed):
		d.Cause = CauseClosed
		d.Hint = "Check that it is a PostgreSQL server and no firewall cuts the connection; its log may say more."
		if connect == nil { // it was established
			d.Hint = "The server, or something between, has ended the connection. The server's log may say why."
		}
	case isNetwork(err):
		d.Cause = CauseUnreachable
		d.Hint = "Check address, routes and firewalls."
	case strings.Contains(err.Error(), "failed SASL auth"), strings.Contains(err.Error(), "require_auth"),
		strings.Contains(err.Error(), "channel binding"):
		d.Cause, d.Code = CauseAuth, "28000"
		return d, 1
	default:
		d.Cause, d.Code = CauseOther, ""
	}
	return d, 0
}

func (d *Diagnosis) fromTLS(err error, connect *ConnectError) bool {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	name, isName := errors.AsType[x509.HostnameError](err)
	certificate, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, isRecord := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case unknown:
		d.Cause, d.Message = CauseInvalidCA, "the server's certificate is not signed by the given CA"
		d.Hint = "Give the CA certificate that signed the server's certificate (sslrootcert, or the task option source_ssl_ca or destination_ssl_ca)."
	case isName:
		d.Cause, d.Message = CauseHostName, name.Error()
		d.Hint = "Connect by a name that the certificate lists, or use sslmode=verify-ca."
	case isInvalid:
		d.Cause, d.Message = CauseCertificate, certificate.Error()
		d.Hint = "Renew the server's certificate, and check the clocks."
	case strings.Contains(err.Error(), "server refused TLS connection"):
		d.Cause, d.Message = CauseNoTLS, "the server does not offer TLS"
		d.Hint = "Set ssl = on with a certificate on the server"
		if connect != nil {
			d.Hint += fmt.Sprintf(", or give up encryption with sslmode=disable in place of sslmode=%s", connect.endpoint.SSLMode())
		}
		d.Hint += "."
	case isAlert(err), isRecord, strings.Contains(err.Error(), "tls error") && !isNetwork(err):
		d.Cause = CauseTLS
		d.Hint = "Check the client certificate (sslcert, sslkey) and the TLS versions that both sides allow."
	default:
		return false
	}
	return true
}

// fromServer reads what the server said. Messages are in the server's language,
// so the C function that raised the error (Routine) decides where it can.
func (d *Diagnosis) fromServer(e *pgconn.PgError, connect *ConnectError) {
	user, database := "", ""
	if connect != nil {
		user, database = connect.endpoint.User(), connect.endpoint.Database()
	}
	role, base := ident(user), ident(database)
	switch {
	case e.Code == "28000" && e.Routine == "ClientAuthentication":
		d.Cause = CauseNoHBA
		d.hba(e.Message, user, database)
	case e.Code == "28P01":
		d.Cause = CauseWrongPassword
		d.Hint = fmt.Sprintf("Give the right password, or set it: ALTER ROLE %s PASSWORD '…';", role)
		if connect != nil && connect.endpoint.settings.password == "" {
			d.Hint = "The connection string has no password."
		}
	case e.Code == "28000" && e.Routine == "InitializeSessionUserId" && strings.Contains(e.Message, "does not exist"):
		d.Cause = CauseNoRole
		d.Hint = fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '…';", role)
	case e.Code == "28000" && e.Routine == "InitializeSessionUserId":
		d.Cause = CauseNoLogin
		d.Hint = fmt.Sprintf("ALTER ROLE %s LOGIN;", role)
	case strings.HasPrefix(e.Code, "28"):
		d.Cause = CauseAuth
		d.Hint = "Check the authentication method in pg_hba.conf for this user."
	case e.Code == "3D000":
		d.Cause = CauseNoDatabase
		d.Hint = fmt.Sprintf("CREATE DATABASE %s;", base)
	case e.Code == "42501" && connect != nil && connect.replication:
		d.Cause = CauseNoReplication
		d.Hint = fmt.Sprintf("ALTER ROLE %s REPLICATION;", role)
	case e.Code == "42501" && connect != nil:
		d.Cause = CauseNoConnect
		d.Hint = fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s;", base, role)
	case e.Code == "53300":
		d.Cause = CauseTooMany
		d.Hint = "Raise max_connections (for replication max_wal_senders), or the CONNECTION LIMIT of the role or the database."
	case e.Code == "57P03" || e.Code == "57P01" || e.Code == "57P02":
		d.Cause = CauseNotReady
	default:
		d.Cause = CauseOther
	}
}

var hbaHost = regexp.MustCompile(`"([0-9a-fA-F.:]+)(?:%[^"]*)?"`)

// hba fills in the line that is missing in pg_hba.conf.
func (d *Diagnosis) hba(message, user, database string) {
	kind, address := "host", "<address of this machine>"
	if match := hbaHost.FindStringSubmatch(message); match != nil {
		address = match[1] + "/32"
		if strings.Contains(match[1], ":") {
			address = match[1] + "/128"
		}
	} else if strings.Contains(message, "[local]") {
		kind, address = "local", ""
	}
	line := strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s scram-sha-256", kind, hbaName(database), hbaName(user), address)), " ")
	d.Hint = fmt.Sprintf("Add this line to pg_hba.conf above any that rejects, then SELECT pg_reload_conf(): %s", line)
	if strings.Contains(message, "no encryption") || strings.Contains(message, "SSL off") {
		d.Hint += " (or connect with sslmode=require, if a hostssl line exists)"
	}
}

// hbaName quotes a name of pg_hba.conf where it would be read as something else.
func hbaName(name string) string {
	if name == "" || strings.ContainsAny(name, " \t,\"#+@/") || name == "all" || name == "replication" ||
		name == "sameuser" || name == "samerole" || name == "samegroup" {
		return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	return name
}

// message is the innermost text of an error that has one, which leaves out the
// prefixes of the layers above.
func message(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		if op.Addr != nil {
			return fmt.Sprintf("%s %s: %v", op.Op, op.Addr, op.Err)
		}
		return fmt.Sprintf("%s: %v", op.Op, op.Err)
	}
	return err.Error()
}
