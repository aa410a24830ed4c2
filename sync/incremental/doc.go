// Package incremental carries the changes of a source database into a destination, continuously and exactly once.
//
//	source ── link ── decoder ──► queue ──► assemble ──► plan ──► sets │ rows ──► COMMIT ──► progress
//	             ▲ status                                            └── replay (exact path)      │
//	             └──────────────────────────── confirmed position ◄─────────────────────────────────┘
//
// # Files
//
//	link, source, queue             receive and answer; open and check; hold what was decoded
//	drain, draincopy, intake        read a backlog another way; where both ways meet
//	pgoutput                        decodes that plugin
//	testdecoding, text, shape,      decode the other
//	  learn, scout
//	spilldecode, spill, spillread   keep the transactions that come before they have committed
//	batch, apply, parallel, early   assemble whole transactions; own the destination's; apply several batches at once; show small ones soon
//	plan, fold, sets, bulk, rows    apply net changes set by set, or change by change
//	replay, conflict                apply one by one with care
//	scope, target, fit,             know where a table's changes go, under which names and types, and whose rows a TRUNCATE meets
//	  share, merged, truncate
//	watch, failover, standby        watch the source's tables, know the destination's server, wait for its standbys
//	meter, progress                 count, and tell
//	hold                            has the destination stand still at a position, for who looks at both sides
//
// # State
//
// The stream owns no durable state of its own; the files of transactions in progress are worth nothing to the next one. The position is a row in the destination (package ledger): the end of the last
// source commit that is in there, written in the same transaction as its rows. The slot of the source is only told what may
// be forgotten.
//
// # Why every change arrives, and arrives once
//
// Let P be the ledger's position. The claim: the destination holds exactly the source's transactions that ended at or before P,
// completely and in the order of their commits.
//
//   - Only COMMIT moves P, and it moves P and the rows together. A transaction of the destination holds whole transactions of
//     the source and no part of another: one that is larger than a batch is applied in pieces, but committed at its end.
//   - A commit is durable before anything is concluded from it: synchronous_commit is on in this session whatever the database's
//     settings say. Only a small batch is committed without it, to be seen sooner; an empty transaction that follows in the same write is
//     flushed, and the batch with it, before anybody is told of the batch (early.go). If the stream ends between the two, the next owner's
//     raising of the fence flushes both; if the destination crashes, it has neither the batch nor its position, and the source still has both.
//     A COMMIT without an answer ends the stream; whether it took effect is read from the ledger.
//   - Nobody else moves P meanwhile. Run raises the fence first; that waits for transactions of former owners which hold the
//     row, so the position it returns is final for them, and all they may still try fails: each transaction locks the
//     row under the fence and the position it expects, first of all or, where batches overlap, before it commits.
//   - Where batches of a backlog overlap (parallel.go), each is one transaction of the destination still, of whole transactions of the
//     source, on a connection of its own. Its last statement but COMMIT moves P from the end of the batch before to its own end, which
//     no row allows until that batch has committed; and it is not even sent before the answer to that COMMIT. So batches commit in
//     the order of the source, each finds P where it expects it or fails, and nothing of a batch commits after one that did not. An owner that
//     has been replaced holds locks on rows at most, until its connections end: whatever it has applied ahead cannot commit.
//   - Nothing after P is missing from the stream. The source may forget what was confirmed, and the confirmed position is always
//     a P that is committed. When the stream starts, the slot's own position must not exceed P (the server would silently start
//     there instead), and slot, plugin, database, cluster and timeline must be the ones P belongs to; the slot is looked at
//     once more after it has been acquired, when nobody else can change it. The source's WAL must reach P.
//   - The destination may lose commits itself, when a standby takes over that does not have them yet, or a backup is restored. P is
//     lost with them, because both are in the same WAL, so the claim holds for every copy of the destination; all that is needed is
//     that the source still has what follows the P of that copy. Hence standby.go: where the physical standbys of the destination can be
//     seen, a position is confirmed only when the destination's WAL has been flushed by all of them up to a point that was read after
//     its commit. Since P is committed before that point is read, whoever has flushed the WAL up to there has P. Waiting is
//     bounded, for the sake of the source's disk: a standby that lags for a minute, or is gone for so long, is not waited for until it
//     has caught up, and one that attaches is waited for from when it is noticed. If it is promoted nevertheless, the slot's
//     position exceeds the P it has, and the stream does not begin.
//   - The ledger also keeps which cluster and timeline it was written on. Another timeline is a promoted standby: the rules above
//     decide. Another cluster may be a copy that is still being made, row and table by table, of which P says nothing: the stream
//     does not begin until somebody says that it is complete.
//   - test_decoding tells only where a commit record ends, and only after the changes; what stands for its start is argued at
//     testDecoding. Where tables were copied ahead of the stream, the transactions up to there are read twice for that.
//   - What the source sends is what is published, and that can be changed behind the stream's back. watch.go compares the
//     publication and the tables with what was copied, at the start and regularly; the ledger keeps the OIDs of
//     the publication and of its rows, so that it is noticed, too, that they were made anew while no stream ran. What else was done and undone
//     again then is not. Changes name their tables, so it knows the tables' OIDs, in case they exchange their names.
//   - Nothing up to P comes twice. Commit records follow each other in the WAL and do not overlap, and transactions are sent in
//     the order of their commits, so a transaction whose commit record starts before P has ended there: it is skipped. The
//     position of single changes plays no role; those of a later commit may well lie before those of an earlier one.
//   - A keepalive says that everything which committed before its position has been sent. It says nothing about what has been
//     applied, so it travels through the queue behind what was sent before it, and moves P when its turn comes. A transaction that is sent
//     before it has committed is not meant: its commit record lies behind the keepalive's position, and it goes into the queue when
//     its commit comes, in the order of the commits. P may pass its changes meanwhile. They are not lost with the files that hold
//     them: the slot keeps the WAL of every transaction in progress from its first record on, and after a restart the source sends
//     again, from the beginning, all of each transaction whose commit record starts at or after P.
//   - Stream Commit alone makes such a transaction one to be applied. Its end is put into the queue only when its file was read to the
//     end and is found to hold what was written, so damage to it, or a part that is missing, ends the stream before anything is committed.
//   - A backlog may come from a temporary copy of the slot instead (drain.go). It is made while a walsender holds the slot, and moved to
//     where the walsender was left between two transactions: a position before which all that committed has been put into the queue, and
//     nothing else has. The copy cannot be moved back, so if that succeeds it had not passed the position, and it brings what the walsender
//     would have brought next. Nobody else can use it. Each call returns whole transactions and leaves the copy at a position
//     before which all commits have been returned; there the next call goes on, and in the end a new walsender. The copy is read ahead of
//     P. The slot is not: it learns of P from the walsender that holds it, which is not read meanwhile. When that walsender ends, the
//     slot is free for a moment, and moved to what is confirmed, a P that any owner has in the destination; the new walsender acquires
//     it and it is looked at like at a start. Whoever replaced it has been noticed, or has left it at or before P. The copy goes with
//     its session, whatever ends that, and then what came from it beyond P comes again from the slot. Servers that forget too much when
//     a slot is moved (endpoint.MovesSlots) are read by a walsender alone.
//   - A copied table shows exactly the commits whose record starts before the position of its snapshot: those are skipped for
//     that table, all others applied.
//
// # Why a held stream stands where it is said to
//
// Who holds the stream (hold.go) wants the destination as the source was at L, exactly: every transaction whose commit record starts
// before L, and no other. L becomes known only when the source's WAL has got there. Until then the queue lets pass what ends at or before a
// position that had arrived a second ago, and remembers that position; if it lies behind L in the end, the hold has failed. Everything else is
// kept in the queue, and with it whatever the applier could do wrong, since all events, from a walsender, from its blocks, or from
// a copy of the slot, come through there in the order of the commits.
// Once L is known, the queue lets through what ends at or before L. Records do not overlap, so those are the transactions whose record starts
// before it. All of them have come when the queue has seen one that lies behind, or a position that is not before L; and all
// have been committed when the applier, which has taken them, comes for more while no batch is under way. Of one that lies
// behind, no commit event leaves the queue. With test_decoding the beginning of one that is larger than the queue may have left it, because it
// does not tell where it will end; then it is open in the destination, and nobody sees it.
// Where another owner has taken the task over meanwhile, this cannot be said. Hence whoever holds the stream looks at the fence in the same snapshot.
//
// A hold keeps neither the source's messages from being answered nor anything in the destination locked, and it ends with its
// context, with the stream, and after a minute in which the stream stood still. It is not written down anywhere.
//
// # Why every change is applied as it was made
//
// Every statement's row count is checked: by whoever sends COMMIT when all of them are in, or by the statement itself where the commit is
// sent along with it (small batches), so that a wrong count, of the ledger's row too, is an error and nothing is committed.
// The quick ways, sets and pipelined rows, are optimistic: any surprise, be it an error
// or a count, rolls the batch back and replays it in the order of the source, row by row. What the source did can be done
// there, however keys were swapped and whatever is unique, because each step starts from the state that the source's step
// started from; if it cannot be done, the destination's rows differ, and that is a conflict: the policy skips it, overwrites
// it, or stops the task, and it is recorded in each case.
//
// Changes fold into one per row only where that cannot be told from the order of the source: the key identifies the row in both
// databases, nothing else is unique or exclusive in the destination's table, and no trigger or rule there fires for this
// session. Deletes come first, then updates, then inserts, so that a key is free before it is taken. TRUNCATE, and a table's
// new shape, divide a batch. Tables without a key fold into the number of equal rows that come or go.
//
// A batch that overlaps others applies ahead only what none of those before it touches: rows whose keys they do not have, of tables
// that fold in all of them, with keys whose equality is that of their texts. No statement ahead thus meets a row that a batch before has yet
// to change, and whatever it meets has been committed. Everything else (the other rows, changes that do not fold, tables without a key)
// waits until all batches before have committed, and meets what they left. TRUNCATE, a new shape of a table, triggers that fire, and
// transactions larger than a batch are applied alone. A surprise rolls its batch back and all that come after it, and they are applied
// alone, one after the other. A batch waits for locks of a batch behind it only where keys are equal that look different, or where the destination's
// rows are not what they should be; PostgreSQL cannot see such a circle, because the batch behind waits for its turn here. Hence its sessions
// wait a second for a lock, and then that is a surprise too.
//
// Several tables of the source may be one in the destination. Their changes are then applied one by one in the order of the source,
// each to the row with its key. Which table a row came from is not known: a TRUNCATE of some of them stops the stream, and where two
// of them have rows of one key, the changes of both fall on the one row that is there.
//
// Rows outside the condition of a table are left out by the source, which also makes an insert of an update that moves a row into
// it, and a delete of one that moves it out. Such an insert lacks the values that are stored out of line and were not touched, unless
// the old row is sent (replica identity full); the stream stops rather than invent them. A partition that comes later has no
// condition, and stops the stream too. Columns that are not selected are left out by the source where it can, and else here.
//
// The lines of test_decoding carry names of columns and types, and no more: OIDs, modifiers and the replica identity are those
// of the catalogs at the time of decoding. A row that does not fit them is read with what both tell together; where they
// contradict each other, the stream stops. Modifiers, by which a destination would round or cut off values, are compared before
// each commit. Changes of tables nobody wants are read over, and a table's replica identity is what the catalogs say now: a
// key that is replaced by another while its changes are still to come may show as conflicts. Changes under a name that a partition
// had only while no stream ran are taken for those of a table nobody wants. Before 11, TRUNCATE does not come. Before 9.6 the slot
// does not show what was confirmed, so that a slot which somebody moved is noticed only if it has also let go of older WAL.
//
// Not covered: with session_replication_role = replica PostgreSQL does not check deferrable unique constraints, so rows that
// violate one because the destination had rows of its own are not noticed. A row that is inserted and deleted within one
// batch leaves no trace, hence no conflict with a row that the destination had under that key.
//
// # Goroutines
//
// Run has four, and awaits them: feed, heartbeat, one that looks at the destination's standbys, and the applier in run. Feed has two for each
// walsender: read (receives and decodes; waits only for room in the queue, and with test_decoding now and then for the source's catalogs), and
// report (status messages; waits for nobody, so the source is answered however long the applier takes). In place of receiving, read may
// drain: one fetches from the copy of the slot, one decodes. While batches overlap, the applier has one for each of them.
//
// # Memory
//
// Decoded changes take at most twice BatchBytes: the queue, and the batch being applied; or the queue, and a batch for each of Workers, but
// not much more than eight times BatchBytes in all of these. Transactions in progress are in files, and take two
// buffers in all, however large and many they are. What a call for a backlog returns is kept by the source and read as there is room; some megabytes wait to be decoded, while the
// source works on the next call.
// Parameters of set statements take up to
// as much again. A single value counts in full, whatever its size.
//
// # Failure
//
// Run returns on the first fault and leaves nothing behind but the slot and the ledger. A new Stream goes on from there. Only when the disk
// does not take transactions in progress does Run itself begin again, and let the source keep them. Errors
// that will not go away by themselves implement Permanent() bool.
package incremental
