package sync_test

import (
	"strings"
	"testing"
)

// byTestDecoding begins the names of tests whose tasks use that decoder; others have pgoutput.
const byTestDecoding = "TestByTestDecoding/"

// What can go wrong with a task can go wrong with either decoder.
func TestByTestDecoding(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T){
		"source is not what it was":    TestSourceIsNotWhatItWas,
		"inserts during the copy":      TestInsertsDuringTheCopy,
		"open transactions":            TestTransactionsOpenAtTheStart,
		"rewritten before its copy":    TestTablesRewrittenBeforeTheirCopy,
		"two tasks into one table":     TestKilledWhileTwoTasksShareATable,
		"prepared transactions":        TestPreparedTransactions,
		"huge transaction":             TestHugeTransactionInLittleMemory,
		"source goes back":             TestSourceThatRestartsUnderLoad,
		"killed while streaming":       TestKilledWhileStreaming,
		"servers restart":              TestServersRestart,
		"conflict":                     TestConflictStopsTheTask,
		"values":                       TestValues,
		"values of 1 GB":               TestValueThatIsTooLarge,
		"values under settings":        TestValuesUnderSettings,
		"values of encodings":          TestValuesOfEncodings,
		"keys of every type":           TestKeysOfEveryType,
		"columns of existing tables":   TestColumnsOfExistingTables,
		"partitioned on one side only": TestPartitionedOnOneSideOnly,
		"partitions come and go":       TestPartitionsComeAndGo,
		"names":                        TestNames,
		"names mapped":                 TestNamesMapped,
	} {
		t.Run(name, test)
	}
}

// decoder is that of the test's tasks.
func (l *lab) decoder() string {
	if strings.HasPrefix(l.Name(), byTestDecoding) {
		return "test_decoding"
	}
	return "pgoutput"
}

// decoded asks for the decoder in clauses of CREATE SYNC TASK.
func (l *lab) decoded(clauses string) string {
	switch {
	case l.decoder() == "pgoutput":
		return clauses // which is the default
	case strings.Contains(clauses, "WITH ("):
		return strings.Replace(clauses, "WITH (", "WITH (decoder = test_decoding, ", 1)
	}
	return clauses + " WITH (decoder = test_decoding)"
}
