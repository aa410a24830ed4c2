package sqlapi

// Session is what the engine knows of a client's session. The fields are set by the server at login and stay, but for InBlock.
type Session struct {
	ID          uint64 // unique in the life of the daemon
	User        string
	Privilege   Privilege
	RemoteAddr  string       // as logged; empty for the local socket
	LocalSocket bool         // came through the daemon's own Unix socket
	InBlock     bool         // inside an explicit transaction block; set before each Run
	Notice      func(Notice) // sends a notice to the client at once; only while Run is executing
}

// Notice is a message beside the result. An empty Severity means NOTICE, an empty Code 00000.
type Notice struct {
	Severity string // NOTICE, WARNING, INFO
	Code     string // SQLSTATE
	Message  string
	Detail   string
	Hint     string
}

// Prepared is a control statement that has been parsed and checked, and that may be run any number of times.
type Prepared struct {
	Statement Statement
	Tag       string // command tag of a statement that returns no rows
	Query     string // for a statement that returns rows: the SELECT that yields them once it has run, without parameters

	token string // names the rows that the engine keeps for Query
}
