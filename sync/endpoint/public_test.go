package endpoint

import (
	"maps"
	"testing"
)

// TestPublic: what is printed means the same as what was given, the passwords apart.
func TestPublic(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{ //nolint:gosec // these open nothing
		"user=u host=h": "host=h user=u",
		"host=h user='a b' password='it\\'s' dbname=d port=7":                                                    "host=h port=7 dbname=d user='a b'",
		"postgresql://u:p%40ss@h:7/d?sslmode=require&sslpassword=x":                                              "host=h port=7 dbname=d user=u sslmode=require",
		"service=s servicefile=f passfile='C:\\\\p' options=-cfoo=1":                                             "options=-cfoo=1 passfile='C:\\\\p' service=s servicefile=f",
		"host=a,b port=1,2 user=u target_session_attrs=primary sslmode=verify-full sslrootcert=ca.pem password=": "host=a,b port=1,2 user=u sslmode=verify-full sslrootcert=ca.pem target_session_attrs=primary",
	} {
		got, err := Public(given)
		if err != nil || got != want {
			t.Errorf("%s: %q %v", given, got, err)
			continue
		}
		before, _ := tokenize(given)
		after, err := tokenize(got)
		maps.DeleteFunc(before, func(name, value string) bool { return value == "" || name == "password" || name == "sslpassword" })
		if err != nil || !maps.Equal(before, after) {
			t.Errorf("%s: %v is not %v, %v", given, after, before, err)
		}
	}
	if _, err := Public("host=h pass word=x"); err == nil {
		t.Error("a malformed string is printed")
	}
}
