package incremental

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	spillBuffer  = 256 << 10 // written at once, and read at once
	spillRecord  = 8         // bytes before a record's body: its length, and the checksum
	roomInterval = 16 << 20  // the free space is looked at before so many bytes are written
)

// spill holds the transactions that the source sends before they have committed, each in a file of its own.
//
// A file is a sequence of records: length, checksum (CRC-32C) and body. A record's checksum covers its length, its body
// and all records before it, so records that are lost, doubled or exchanged show just as changed ones do. How many records and bytes a
// file must have and what its last checksum is, is known in memory alone. So whatever is found on the disk at a start is worth
// nothing, and is removed: the source sends those transactions again.
//
// Only the transaction whose block is being received has a buffer and an open file; a block is written out at its end. So
// neither memory nor file descriptors grow with the number of transactions.
//
// It belongs to the goroutine that receives.
type spill struct {
	path    string
	dir     *os.Root
	reserve uint64 // bytes to be left free

	transactions map[uint32]*spilled
	current      *spilled // whose block is being received
	out          *bufio.Writer
	file         *os.File // of current, once something was written
	unseen       int      // bytes written since the last look at the free space
	rest         []byte   // of the block that bodies are read into
}

// spilled is a transaction whose commit or abort has not come yet.
type spilled struct {
	xid     uint32
	length  int64 // of the file, with what is still in the buffer
	records int64
	largest int    // body
	sum     uint32 // checksum of the last record
	begun   bool   // the file exists
	aborted xidSet // savepoints rolled back
}

// openSpill makes the directory for a task's transactions and removes what a former stream left in it. If that stream still has the
// directory open, it cannot write into the new one.
func openSpill(dir, task string, reserve int64) (*spill, error) {
	s := &spill{path: filepath.Join(dir, task), reserve: uint64(reserve), transactions: map[uint32]*spilled{}, unseen: roomInterval}
	err := os.RemoveAll(s.path)
	if err == nil {
		err = os.MkdirAll(s.path, 0o700)
	}
	if err == nil {
		s.dir, err = os.OpenRoot(s.path)
	}
	if err != nil {
		return nil, s.refused(err)
	}
	s.out = bufio.NewWriterSize(fileWriter{s}, spillBuffer)
	return s, nil
}

// close removes everything. The error is of no interest to a stream that has ended: the next start removes it likewise.
func (s *spill) close() {
	if s == nil {
		return
	}
	if s.file != nil {
		_ = s.file.Close()
	}
	_ = s.dir.Close()
	_ = os.RemoveAll(s.path)
}

// start begins a block of a transaction, which is the transaction's first one or not.
func (s *spill) start(xid uint32, first bool) error {
	t := s.transactions[xid]
	switch {
	case s.current != nil:
		return fmt.Errorf("block of transaction %d inside one of %d", xid, s.current.xid)
	case first && t != nil:
		return fmt.Errorf("transaction %d begins twice", xid)
	case !first && t == nil:
		return fmt.Errorf("transaction %d goes on without having begun", xid)
	case first:
		t = &spilled{xid: xid}
		s.transactions[xid] = t
	}
	s.current = t
	return nil
}

// write adds a record to the block.
func (s *spill) write(body []byte) error {
	t := s.current
	t.records++
	t.length += int64(spillRecord + len(body))
	t.largest = max(t.largest, len(body))
	var head [spillRecord]byte
	binary.BigEndian.PutUint32(head[:], uint32(len(body)))
	t.sum = checksum(t.sum, head[:], body)
	binary.BigEndian.PutUint32(head[4:], t.sum)
	_, err := s.out.Write(head[:])
	if err == nil {
		_, err = s.out.Write(body)
	}
	return err
}

// checksum is that of a record which follows the one with the given checksum.
func checksum(before uint32, head, body []byte) uint32 {
	return crc32.Update(crc32.Update(before, castagnoli, head[:4]), castagnoli, body)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stop ends the block.
func (s *spill) stop() error {
	err := s.out.Flush()
	if s.file != nil {
		if closed := s.file.Close(); err == nil && closed != nil {
			err = s.refused(closed)
		}
	}
	s.file, s.current = nil, nil
	return err
}

// fileWriter writes to the file of the transaction whose block is being received.
type fileWriter struct{ *spill }

func (w fileWriter) Write(p []byte) (int, error) {
	if w.unseen += len(p); w.unseen >= roomInterval {
		w.unseen = 0
		if err := w.room(); err != nil {
			return 0, err
		}
	}
	if w.file == nil {
		mode := os.O_WRONLY | os.O_APPEND
		if !w.current.begun {
			mode |= os.O_CREATE | os.O_EXCL
		}
		file, err := w.dir.OpenFile(w.current.name(), mode, 0o600)
		if err != nil {
			return 0, w.refused(err)
		}
		w.file, w.current.begun = file, true
	}
	n, err := w.file.Write(p)
	if err != nil {
		err = w.refused(err)
	}
	return n, err
}

func (t *spilled) name() string { return strconv.FormatUint(uint64(t.xid), 10) }

// read gives every record of a transaction to f, in order, and makes sure that they are the ones that were written. Until it
// has returned nil nothing is known of the whole. The bodies are not changed afterwards.
func (s *spill) read(t *spilled, f func(body []byte) error) error {
	file, err := s.dir.Open(t.name())
	if err != nil {
		return t.damaged("%v", err)
	}
	defer func() { _ = file.Close() }()
	in := bufio.NewReaderSize(file, spillBuffer)
	var sum uint32
	left := t.length
	for n := int64(1); n <= t.records; n++ {
		var head [spillRecord]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return t.damaged("record %d of %d: %v", n, t.records, err)
		}
		length := int64(binary.BigEndian.Uint32(head[:]))
		if left -= spillRecord + length; length > int64(t.largest) || left < 0 {
			return t.damaged("record %d of %d: its length %d cannot be", n, t.records, length)
		}
		body := s.take(int(length))
		if _, err := io.ReadFull(in, body); err != nil {
			return t.damaged("record %d of %d: %v", n, t.records, err)
		}
		if sum = checksum(sum, head[:], body); sum != binary.BigEndian.Uint32(head[4:]) {
			return t.damaged("record %d of %d: its checksum does not fit", n, t.records)
		}
		if err := f(body); err != nil {
			return err
		}
	}
	switch _, err := in.ReadByte(); {
	case sum != t.sum || left != 0:
		return t.damaged("the records are not those that were written")
	case err == nil:
		return t.damaged("it is longer than what was written")
	}
	return nil
}

// take returns memory for a body. Small ones share blocks.
func (s *spill) take(n int) []byte {
	if n > blockSize/4 {
		return make([]byte, n)
	}
	if len(s.rest) < n {
		s.rest = make([]byte, blockSize)
	}
	b := s.rest[:n:n]
	s.rest = s.rest[n:]
	return b
}

// forget removes a transaction that has ended.
func (s *spill) forget(t *spilled) error {
	delete(s.transactions, t.xid)
	if !t.begun {
		return nil
	}
	if err := s.dir.Remove(t.name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return t.damaged("%v", err)
	}
	return nil
}

// damaged is not permanent: the source sends the transaction once more to the next stream. It wraps nothing, because errors of files
// would be taken for those of connections.
func (t *spilled) damaged(format string, args ...any) error {
	return fmt.Errorf("spilled transaction %d: %s", t.xid, fmt.Sprintf(format, args...))
}

// refusedError: transactions cannot be kept on the disk. A stream that does not ask for them before they have committed can go on.
type refusedError struct {
	path string
	free uint64
	why  string
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("keep transactions in %s: %s", e.path, e.why)
}

// refused tells why the disk did not take something.
func (s *spill) refused(err error) error {
	return &refusedError{path: s.path, free: s.free(), why: err.Error()}
}

// room makes sure that enough space is left: the disk is not the stream's alone.
func (s *spill) room() error {
	if free := s.free(); free < s.reserve {
		return &refusedError{path: s.path, free: free, why: fmt.Sprintf("less than %d bytes are free on the disk", s.reserve)}
	}
	return nil
}

// free is what unprivileged users have left on the disk.
func (s *spill) free() uint64 {
	var st unix.Statfs_t
	if err := unix.Statfs(s.path, &st); err != nil {
		return 0
	}
	return st.Bavail * uint64(st.Bsize)
}

// xidSet is a set of transaction numbers, by their upper bits: those of one transaction's savepoints lie close together.
type xidSet map[uint32]*[8]uint64

func (x xidSet) has(xid uint32) bool {
	page := x[xid>>9]
	return page != nil && page[xid>>6&7]>>(xid&63)&1 != 0
}

func (x *xidSet) add(xid uint32) {
	if *x == nil {
		*x = xidSet{}
	}
	page := (*x)[xid>>9]
	if page == nil {
		page = new([8]uint64)
		(*x)[xid>>9] = page
	}
	page[xid>>6&7] |= 1 << (xid & 63)
}
