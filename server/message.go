package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"pgsyncd/sqlapi"

	"github.com/jackc/pgproto3/v2"
	wire "github.com/jackc/pgx/v5/pgproto3"
)

// SQLSTATEs that only this package raises.
const (
	codeProtocol        = "08P01" // protocol_violation
	codeFailedBlock     = "25P02" // in_failed_sql_transaction
	codeIdleInBlock     = "25P03" // idle_in_transaction_session_timeout
	codeNotAuthorized   = "28000" // invalid_authorization_specification
	codeWrongPassword   = "28P01" // invalid_password
	codeTooManySessions = "53300" // too_many_connections
	codeLimit           = "53400" // configuration_limit_exceeded
	codeTooLong         = "54000" // program_limit_exceeded
	codeShutdown        = "57P01" // admin_shutdown
	codeCannotConnect   = "57P03" // cannot_connect_now
)

// The severities of PostgreSQL that we use.
const (
	severityError  = "ERROR"
	severityFatal  = "FATAL"
	severityNotice = "NOTICE"
)

// protocolError is what the client is told before its connection is closed for breaking the protocol.
func protocolError(format string, args ...any) *sqlapi.Error {
	return sqlapi.Errorf(codeProtocol, format, args...)
}

// encode appends messages to dst. Their encoders fail only on messages beyond 1 GB, which we do not make.
func encode(dst []byte, messages ...pgproto3.BackendMessage) []byte {
	for _, m := range messages {
		next, err := m.Encode(dst)
		if err != nil {
			panic(fmt.Sprintf("encode %T: %v", m, err))
		}
		dst = next
	}
	return dst
}

// encodeFrontend returns a message to the backend as a frame.
func encodeFrontend(m wire.FrontendMessage) []byte {
	frame, err := m.Encode(nil)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", m, err))
	}
	return frame
}

// charset is the client's client_encoding, as far as it matters here.
type charset string

// transparent tells whether our UTF-8 may be sent as it is.
func (c charset) transparent() bool { return c == "" || c == "UTF8" || c == "SQL_ASCII" }

// lexable tells whether a byte below 0x80 is always a character of its own.
func (c charset) lexable() bool {
	switch c {
	case "SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "UHC", "GB18030", "JOHAB":
		return false
	}
	return true
}

// text prepares a string for a field of a message: no NUL, and nothing the client's encoding may lack.
func (c charset) text(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "?")
	if c.transparent() {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r >= 0x80 {
			return '?'
		}
		return r
	}, s)
}

// errorFrame encodes an ErrorResponse.
func (c charset) errorFrame(severity string, e *sqlapi.Error) []byte {
	return encode(nil, &pgproto3.ErrorResponse{
		Severity: severity, SeverityUnlocalized: severity, Code: e.Code,
		Message: c.text(e.Message), Detail: c.text(e.Detail), Hint: c.text(e.Hint), Position: int32(e.Position),
	})
}

// noticeFrame encodes a NoticeResponse.
func (c charset) noticeFrame(n sqlapi.Notice) []byte {
	severity, code := n.Severity, n.Code
	if severity == "" {
		severity = severityNotice
	}
	if code == "" {
		code = "00000"
	}
	return encode(nil, &pgproto3.NoticeResponse{
		Severity: severity, SeverityUnlocalized: severity, Code: code,
		Message: c.text(n.Message), Detail: c.text(n.Detail), Hint: c.text(n.Hint),
	})
}

// field returns a field of an ErrorResponse or NoticeResponse frame, or "".
func field(frame []byte, key byte) string {
	for rest := frame[headerSize:]; len(rest) > 0 && rest[0] != 0; {
		text, after, ok := bytes.Cut(rest[1:], []byte{0})
		if !ok {
			return ""
		}
		if rest[0] == key {
			return string(text)
		}
		rest = after
	}
	return ""
}

// shiftPosition returns an ErrorResponse or NoticeResponse frame whose position, if it has one, is moved by chars.
func shiftPosition(frame []byte, chars int) []byte {
	position, err := strconv.Atoi(field(frame, 'P'))
	if err != nil {
		return frame
	}
	old := fmt.Appendf(nil, "\x00P%d\x00", position)
	shifted := bytes.Replace(frame, old, fmt.Appendf(nil, "\x00P%d\x00", position+chars), 1)
	binary.BigEndian.PutUint32(shifted[1:], uint32(len(shifted)-1))
	return shifted
}
