package server

import (
	"bytes"
	"fmt"

	"pgsyncd/sqlapi"

	"github.com/jackc/pgproto3/v2"
)

// awaits says what a reply answers, and thereby which message of the backend is its last.
type awaits string

// What is sent to the backend and answered. Flush, Terminate and copy data are not answered.
const (
	awaitsParse          awaits = "parse"
	awaitsBind           awaits = "bind"
	awaitsCloseStatement awaits = "close statement"
	awaitsClosePortal    awaits = "close portal"
	awaitsDescribe       awaits = "describe"
	awaitsExecute        awaits = "execute"
	awaitsSync           awaits = "sync"
	awaitsQuery          awaits = "query"
)

// extended tells whether an error in it makes the backend skip everything up to the next Sync.
func (a awaits) extended() bool { return a != awaitsSync && a != awaitsQuery }

// reply is one answer the backend owes.
type reply struct {
	awaits awaits
	name   string     // parse, bind, close: of the statement or portal
	stmt   *statement // parse: a control statement; nil for plain SQL
	portal *portal    // bind: a portal of a control statement; nil for plain SQL

	tag       string        // execute, query: the command tag the client gets instead
	err       *sqlapi.Error // the error the client gets instead of the backend's
	shift     int           // query: characters of the client's string before this part of it
	hidden    bool          // an errand of ours, of which the client sees at most the error
	hideReady bool          // query: a part of a string; its ReadyForQuery is not the last
	outcome   *outcome      // filled when the reply is complete
}

// outcome is what the receiving goroutine wants to know of a reply once it is complete.
type outcome struct {
	failed bool
	rows   bool // describe: there are columns
}

// statement is a control statement prepared by the client. The backend has a stand-in under the same name.
type statement struct {
	prepared *sqlapi.Prepared
	size     int // bytes of its text
	shift    int // characters of the client's string before it
}

// portal is a portal of such a statement.
type portal struct {
	stmt *statement
	bind []byte // the client's Bind, for a statement that returns rows
	ran  bool   // at most once: what Execute does to the portal after that is between client and backend
}

// size returns the bytes that the portal keeps from being freed.
func (p *portal) size() int { return p.stmt.size + len(p.bind) }

// replies is the server's picture of the backend connection: what it still has to answer, and what the answers so far have made of
// the session. It does no I/O and no locking; session.mu guards it.
//
// Invariants: queue holds what has been sent and not fully answered, in order. After an error in the extended protocol the backend
// ignores messages up to the next Sync; they are not in queue, and skipping is true while that Sync has not been sent.
type replies struct {
	queue    []reply
	skipping bool
	unsynced bool // extended messages have been sent since the last ReadyForQuery: there may be an implicit transaction
	block    byte // as ReadyForQuery tells: I idle, T in a transaction block, E in a failed one

	savepoints bool // SAVEPOINT has been seen in this block: the tag ROLLBACK may be that of ROLLBACK TO

	// Statements and portals of control statements that the backend has acknowledged. Some may be gone by other ways than Close;
	// the probe before Execute finds out.
	statements map[string]*statement
	portals    map[string]*portal
	held       int // bytes of the texts behind statements, portals and those in queue

	charset          charset
	nonconforming    bool // standard_conforming_strings is off
	timedOut         bool // the daemon itself had the current statement cancelled
	endedByBackend   bool // a FATAL error has been relayed
	activity, popped int  // rise with every change and with every complete reply; a watcher compares
}

func newReplies() replies {
	return replies{block: 'I', statements: map[string]*statement{}, portals: map[string]*portal{}}
}

// push notes that the backend owes a reply. The message must be sent right after.
func (q *replies) push(r reply) {
	q.activity++
	switch {
	case r.awaits == awaitsSync:
		q.skipping = false
	case q.skipping:
		return // the backend will ignore the message
	case r.awaits.extended():
		q.unsynced = true
	}
	q.held += r.size()
	q.queue = append(q.queue, r)
}

func (r *reply) size() int {
	switch {
	case r.stmt != nil:
		return r.stmt.size
	case r.portal != nil:
		return r.portal.size()
	}
	return 0
}

// pop ends the first reply without its effect.
func (q *replies) pop() {
	q.popped++
	q.activity++
	q.timedOut = false
	q.held -= q.queue[0].size()
	q.queue[0] = reply{}
	q.queue = q.queue[1:]
}

// statement returns the control statement that a Bind sent now would find under the name, nil when it is plain SQL or unknown. False
// means that this depends on replies that are still due.
func (q *replies) statement(name string) (*statement, bool) {
	r, certain := q.latest(name, awaitsParse, awaitsCloseStatement)
	if r != nil {
		return r.stmt, certain
	}
	return q.statements[name], true
}

// portal returns the control statement's portal that an Execute sent now would find under the name.
func (q *replies) portal(name string) (*portal, bool) {
	r, certain := q.latest(name, awaitsBind, awaitsClosePortal)
	if r != nil {
		return r.portal, certain
	}
	return q.portals[name], true
}

// latest returns the last reply due that makes or closes what the name stands for. If it fails, messages up to the next Sync are
// ignored; so whoever comes before that Sync may rely on it, and whoever comes after it may not.
func (q *replies) latest(name string, made, closed awaits) (r *reply, certain bool) {
	if q.held == 0 {
		return nil, true // there are no control statements
	}
	certain = true
	for i := len(q.queue) - 1; i >= 0; i-- {
		switch r := &q.queue[i]; {
		case r.awaits == awaitsSync:
			certain = false
		case r.name == name && (r.awaits == made || r.awaits == closed):
			return r, certain
		}
	}
	return nil, true
}

func (q *replies) setStatement(name string, s *statement) {
	if old := q.statements[name]; old != nil {
		q.held -= old.size
		delete(q.statements, name)
	}
	if s != nil {
		q.held += s.size
		q.statements[name] = s
	}
}

func (q *replies) setPortal(name string, p *portal) {
	if old := q.portals[name]; old != nil {
		q.held -= old.size()
		delete(q.portals, name)
	}
	if p != nil {
		q.held += p.size()
		q.portals[name] = p
	}
}

// forget drops every statement, or every portal, from the picture.
func (q *replies) forgetStatements() {
	for name := range q.statements {
		q.setStatement(name, nil)
	}
}

func (q *replies) forgetPortals() {
	for name := range q.portals {
		q.setPortal(name, nil)
	}
}

// verdict is what becomes of a frame of the backend: it is passed on, or dropped, or replaced.
type verdict struct {
	drop    bool
	replace []byte
}

// answer takes note of a frame of the backend, other than a row, and says what becomes of it. An error means that the picture
// is wrong and the session cannot go on.
func (q *replies) answer(frame []byte) (verdict, error) {
	kind, body := frame[0], frame[headerSize:]
	switch kind {
	case 'A':
		return verdict{}, nil
	case 'S':
		q.parameter(body)
		return verdict{}, nil
	case 'N':
		if len(q.queue) > 0 && q.queue[0].shift > 0 {
			return verdict{replace: shiftPosition(frame, q.queue[0].shift)}, nil
		}
		return verdict{}, nil
	case 'E':
		return q.failure(frame), nil
	}
	if len(q.queue) == 0 {
		return verdict{}, fmt.Errorf("catalog sent message %q that nothing asked for", kind)
	}
	r := &q.queue[0]
	v := verdict{drop: r.hidden}
	switch kind {
	case '1':
		return v, q.complete(awaitsParse)
	case '2':
		return v, q.complete(awaitsBind)
	case '3':
		if r.awaits == awaitsCloseStatement {
			return v, q.complete(awaitsCloseStatement)
		}
		return v, q.complete(awaitsClosePortal)
	case 'T', 'n':
		if r.awaits == awaitsDescribe {
			if r.outcome != nil {
				r.outcome.rows = kind == 'T'
			}
			return v, q.complete(awaitsDescribe)
		}
	case 'C':
		tag := string(bytes.TrimRight(body, "\x00"))
		q.follow(tag)
		if r.tag != "" {
			v.replace = encode(nil, &pgproto3.CommandComplete{CommandTag: []byte(r.tag)})
		}
		if r.awaits == awaitsExecute {
			q.pop()
		}
	case 'I', 's':
		if r.awaits == awaitsExecute {
			q.pop()
		}
	case 'Z':
		return q.ready(body)
	}
	return v, nil
}

// complete ends the first reply, which must be of the given kind, and gives it its effect.
func (q *replies) complete(kind awaits) error {
	r := q.queue[0]
	if r.awaits != kind {
		return fmt.Errorf("catalog answered a %s where a %s was due", kind, r.awaits)
	}
	q.pop()
	switch kind {
	case awaitsParse, awaitsCloseStatement:
		q.setStatement(r.name, r.stmt)
	case awaitsBind, awaitsClosePortal:
		q.setPortal(r.name, r.portal)
	case awaitsDescribe, awaitsExecute, awaitsSync, awaitsQuery:
	}
	return nil
}

// ready handles ReadyForQuery.
func (q *replies) ready(body []byte) (verdict, error) {
	r := &q.queue[0]
	if r.awaits.extended() || len(body) != 1 {
		return verdict{}, fmt.Errorf("catalog is ready where a %s was due", r.awaits)
	}
	v := verdict{drop: r.hideReady}
	q.pop()
	q.setBlock(body[0])
	q.unsynced = false
	return v, nil
}

// setBlock notes the transaction state. Portals do not outlive their transaction.
func (q *replies) setBlock(block byte) {
	q.block = block
	if block == 'I' {
		q.savepoints = false
		q.forgetPortals()
	}
}

// follow keeps the transaction state between two ReadyForQuery, from command tags. ROLLBACK is also the tag of ROLLBACK TO, and
// COMMIT that of COMMIT AND CHAIN; the first is told apart by savepoints, towards staying in the block, the second is not.
func (q *replies) follow(tag string) {
	switch tag {
	case "BEGIN", "START TRANSACTION":
		q.block = 'T'
	case "SAVEPOINT":
		q.savepoints = true
	case "COMMIT":
		q.setBlock('I')
	case "ROLLBACK":
		if q.savepoints {
			q.block = 'T'
		} else {
			q.setBlock('I')
		}
	case "DEALLOCATE ALL":
		q.forgetStatements()
	case "DISCARD ALL":
		q.forgetStatements()
		q.forgetPortals()
	}
}

// failure handles ErrorResponse: a simple query still owes its ReadyForQuery, everything else up to the next Sync is void.
func (q *replies) failure(frame []byte) verdict {
	var v verdict
	severity := field(frame, 'V')
	q.endedByBackend = severity == severityFatal || severity == "PANIC"
	if len(q.queue) == 0 || q.endedByBackend {
		return v
	}
	r := &q.queue[0]
	switch {
	case r.err != nil:
		v.replace = q.charset.errorFrame(severityError, r.err)
	case q.timedOut && field(frame, 'C') == sqlapi.CodeCancelled:
		v.replace = q.charset.errorFrame(severityError, errStatementTimeout)
	case r.shift > 0:
		v.replace = shiftPosition(frame, r.shift)
	}
	if r.outcome != nil {
		r.outcome.failed = true
	}
	if !r.awaits.extended() {
		return v
	}
	for len(q.queue) > 0 && q.queue[0].awaits != awaitsSync {
		if o := q.queue[0].outcome; o != nil {
			o.failed = true
		}
		q.pop()
	}
	q.skipping = len(q.queue) == 0
	return v
}

// parameter notes the settings that decide how a client's text is read.
func (q *replies) parameter(body []byte) {
	name, rest, _ := bytes.Cut(body, []byte{0})
	value, _, _ := bytes.Cut(rest, []byte{0})
	q.setParameter(string(name), string(value))
}

func (q *replies) setParameter(name, value string) {
	switch name {
	case "client_encoding":
		q.charset = charset(value)
	case "standard_conforming_strings":
		q.nonconforming = value == "off"
	}
}

// errStatementTimeout is what a client is told whose forwarded statement the daemon had cancelled.
var errStatementTimeout = sqlapi.Errorf(sqlapi.CodeCancelled, "canceling statement due to statement timeout")
