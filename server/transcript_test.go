package server

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	wire "github.com/jackc/pgx/v5/pgproto3"
)

var rewrite = flag.Bool("rewrite", false, "write what the server said into testdata/*.txt")

// TestTranscripts plays conversations of raw frames. A file consists of
//
//	connect tcp|unix       a new connection
//	login                  a new one over the Unix socket, up to the first ReadyForQuery, which is not shown
//	> Message arguments    a frame to the server, see frameOf
//	wait TYPES             read until messages of these types have come, in that order; EOF is written $
//	byte                   read the answer to a request for encryption
//
// and, below each wait, what the server said, which -rewrite replaces.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("transcripts: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := &player{t: t, h: setup(t)}
			for line := range strings.Lines(string(want)) {
				p.line(strings.TrimSuffix(line, "\n"))
			}
			p.hangUp()
			if *rewrite {
				if err := os.WriteFile(file, p.out.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), p.out.String()); diff != "" {
				t.Errorf("conversation (-want +got):\n%s", diff)
			}
		})
	}
}

// player plays one file.
type player struct {
	t    testing.TB
	h    *harness
	out  bytes.Buffer
	conn net.Conn
	send []byte
}

func (p *player) line(line string) {
	verb, rest, _ := strings.Cut(line, " ")
	if verb == "<" {
		return
	}
	fmt.Fprintln(&p.out, line)
	switch verb {
	case "", "#":
	case "connect":
		p.hangUp()
		p.connect(rest)
	case "login":
		p.hangUp()
		p.connect("unix")
		p.send = startupPacket(protocol3, map[string]string{"user": "admin"})
		p.read("Z", io.Discard)
	case ">":
		p.send = append(p.send, p.frameOf(rest)...)
	case "wait":
		p.read(rest, &p.out)
	case "byte":
		p.write()
		var answer [1]byte
		if _, err := io.ReadFull(p.conn, answer[:]); err != nil {
			p.t.Fatal(err)
		}
		fmt.Fprintf(&p.out, "< %s\n", answer)
	default:
		p.t.Fatalf("unknown line %q", line)
	}
}

func (p *player) connect(network string) {
	var err error
	if network == "unix" {
		p.conn, err = new(net.Dialer).DialContext(p.t.Context(), "unix", fmt.Sprintf("%s/.s.PGSQL.%d", p.h.socket, DefaultPort))
	} else {
		p.conn, err = new(net.Dialer).DialContext(p.t.Context(), "tcp", p.h.server.Addrs()[0].String())
	}
	if err != nil {
		p.t.Fatal(err)
	}
	_ = p.conn.SetDeadline(time.Now().Add(patience))
}

func (p *player) hangUp() {
	if p.conn != nil {
		_ = p.conn.Close()
	}
}

func (p *player) write() {
	p.t.Helper()
	if len(p.send) == 0 {
		return
	}
	if _, err := p.conn.Write(p.send); err != nil {
		p.t.Fatal(err)
	}
	p.send = nil
}

// read sends what is collected, all at once, and shows what comes until the types have been seen.
func (p *player) read(types string, out io.Writer) {
	p.t.Helper()
	p.write()
	for types != "" {
		kind, text, err := receive(p.conn)
		if err != nil {
			p.t.Fatalf("waiting for %s: %v\n%s", types, err, p.out.String())
		}
		_, _ = fmt.Fprintf(out, "< %s\n", text) // to memory
		switch kind {
		case types[0]:
			types = types[1:]
		case '$':
			p.t.Fatalf("the server closed while waiting for %s:\n%s", types, p.out.String())
		}
	}
}

// startupPacket encodes a start-up message.
func startupPacket(version uint32, params map[string]string) []byte {
	body := binary.BigEndian.AppendUint32(nil, version)
	for name, value := range params {
		body = append(body, name+"\x00"+value+"\x00"...)
	}
	body = append(body, 0)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)
}

// receive reads one message and renders it. The end of the connection has type $.
func receive(conn net.Conn) (byte, string, error) {
	var head [headerSize]byte
	if n, err := io.ReadFull(conn, head[:]); err != nil {
		if n == 0 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) {
			return '$', "EOF", nil
		}
		return 0, "", err
	}
	body := make([]byte, frameSize(head[:])-headerSize)
	if _, err := io.ReadFull(conn, body); err != nil {
		return 0, "", err
	}
	return head[0], render(head[0], body), nil
}

// render shows a message of the server. What differs between machines is left out.
func render(kind byte, body []byte) string {
	text := func() string { return string(bytes.TrimRight(body, "\x00")) }
	switch kind {
	case '1':
		return "ParseComplete"
	case '2':
		return "BindComplete"
	case '3':
		return "CloseComplete"
	case 'n':
		return "NoData"
	case 's':
		return "PortalSuspended"
	case 'I':
		return "EmptyQueryResponse"
	case 'c':
		return "CopyDone"
	case 'd':
		return fmt.Sprintf("CopyData %q", body)
	case 'H':
		return "CopyOutResponse"
	case 'K':
		return "BackendKeyData"
	case 'Z':
		return "ReadyForQuery " + string(body)
	case 'C':
		return "CommandComplete " + text()
	case 'S':
		return "ParameterStatus " + string(body[:bytes.IndexByte(body, 0)])
	case 'R':
		return fmt.Sprintf("Authentication %d %q", binary.BigEndian.Uint32(body), body[4:])
	case 'v':
		return fmt.Sprintf("NegotiateProtocolVersion %d %q", binary.BigEndian.Uint32(body), body[8:])
	case 't':
		return fmt.Sprintf("ParameterDescription %d", binary.BigEndian.Uint16(body))
	case 'T':
		var m wire.RowDescription
		if err := m.Decode(body); err != nil {
			return err.Error()
		}
		s := "RowDescription"
		for _, f := range m.Fields {
			s += fmt.Sprintf(" %s:%d:%d", f.Name, f.DataTypeOID, f.Format)
		}
		return s
	case 'D':
		var m wire.DataRow
		if err := m.Decode(body); err != nil {
			return err.Error()
		}
		return fmt.Sprintf("DataRow %q", m.Values)
	case 'A':
		var m wire.NotificationResponse
		if err := m.Decode(body); err != nil {
			return err.Error()
		}
		return fmt.Sprintf("NotificationResponse %s %q", m.Channel, m.Payload)
	case 'E', 'N':
		var m wire.ErrorResponse
		if err := m.Decode(body); err != nil {
			return err.Error()
		}
		s := map[byte]string{'E': "ErrorResponse", 'N': "NoticeResponse"}[kind]
		s += fmt.Sprintf(" %s %s %s %q", m.Severity, m.SeverityUnlocalized, m.Code, m.Message)
		if m.Detail != "" {
			s += fmt.Sprintf(" detail %q", m.Detail)
		}
		if m.Hint != "" {
			s += fmt.Sprintf(" hint %q", m.Hint)
		}
		if m.Position != 0 {
			s += fmt.Sprintf(" position %d", m.Position)
		}
		return s
	}
	return fmt.Sprintf("%q %x", kind, body)
}

// frameOf encodes a message written as its name and arguments; arguments are words or Go strings.
func (p *player) frameOf(text string) []byte {
	p.t.Helper()
	args := words(p.t, text)
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	number := func(i int) int {
		n, err := strconv.Atoi("0" + arg(i))
		if err != nil {
			p.t.Fatal(err)
		}
		return n
	}
	switch args[0] {
	case "Query":
		return encodeFrontend(&wire.Query{String: arg(1)})
	case "Parse": // name, query
		return encodeFrontend(&wire.Parse{Name: arg(1), Query: arg(2)})
	case "Bind": // portal, statement, format of results
		return encodeFrontend(&wire.Bind{DestinationPortal: arg(1), PreparedStatement: arg(2), ResultFormatCodes: []int16{int16(number(3))}})
	case "DescribeStatement":
		return encodeFrontend(&wire.Describe{ObjectType: 'S', Name: arg(1)})
	case "DescribePortal":
		return encodeFrontend(&wire.Describe{ObjectType: 'P', Name: arg(1)})
	case "Execute": // portal, rows
		return encodeFrontend(&wire.Execute{Portal: arg(1), MaxRows: uint32(number(2))})
	case "CloseStatement":
		return encodeFrontend(&wire.Close{ObjectType: 'S', Name: arg(1)})
	case "ClosePortal":
		return encodeFrontend(&wire.Close{ObjectType: 'P', Name: arg(1)})
	case "Sync":
		return encodeFrontend(&wire.Sync{})
	case "Flush":
		return encodeFrontend(&wire.Flush{})
	case "Terminate":
		return encodeFrontend(&wire.Terminate{})
	case "FunctionCall":
		return []byte("F\x00\x00\x00\x0e\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00")
	case "CopyData":
		return encodeFrontend(&wire.CopyData{Data: []byte(arg(1))})
	case "CopyDone":
		return encodeFrontend(&wire.CopyDone{})
	case "SSLRequest":
		return binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, codeSSLRequest)
	case "GSSENCRequest":
		return binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, codeGSSRequest)
	case "Startup": // major, minor, name=value …
		params := map[string]string{}
		for _, a := range args[3:] {
			name, value, _ := strings.Cut(a, "=")
			params[name] = value
		}
		return startupPacket(uint32(number(1)<<16|number(2)), params)
	case "Raw": // hexadecimal
		raw, err := hex.DecodeString(arg(1))
		if err != nil {
			p.t.Fatal(err)
		}
		return raw
	}
	p.t.Fatalf("unknown message %q", args[0])
	return nil
}

// words splits a line at spaces, with Go strings as single words.
func words(tb testing.TB, text string) []string {
	tb.Helper()
	var all []string
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		if quoted, err := strconv.QuotedPrefix(text); err == nil {
			word, err := strconv.Unquote(quoted)
			if err != nil {
				tb.Fatal(err)
			}
			all, text = append(all, word), text[len(quoted):]
			continue
		}
		word, rest, _ := strings.Cut(text, " ")
		all, text = append(all, word), rest
	}
	return all
}
