// Notation-peer signs, lists and verifies Notary Project signatures with the
// reference libraries. The tests compare signetfs with it, so its answers are
// the libraries' own: nothing is judged here. Revocation is not checked,
// because tests have no network.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/notaryproject/notation-go/dir"
	"github.com/notaryproject/notation-go/log"
)

const usage = `usage: notation-peer sign|list|verify [flags] REFERENCE, or notation-peer version
REFERENCE is HOST/REPOSITORY:TAG, or PATH:TAG with --oci-layout; @DIGEST instead of :TAG works too`

// options are the flags of all commands; each command reads those it knows.
type options struct {
	config         string
	layout         bool
	scope          string
	plainHTTP      bool
	username       string
	password       string
	maxSignatures  int
	metadata       metadata
	expiry         time.Duration
	format         string
	key            string
	cert           string
	forceTag       bool
	timestampURL   string
	timestampRoots string
	reference      string
}

// metadata collects repeated "-m key=value" flags.
type metadata map[string]string

func (m metadata) String() string { return "" }

func (m metadata) Set(pair string) error {
	key, value, found := strings.Cut(pair, "=")
	if !found || key == "" {
		return fmt.Errorf("%q is not key=value", pair)
	}
	if _, again := m[key]; again {
		return fmt.Errorf("key %q is given twice", key)
	}
	m[key] = value
	return nil
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	commands := map[string]func(context.Context, options) error{
		"sign": sign, "list": list, "ls": list, "verify": verify,
	}
	if len(args) == 1 && args[0] == "version" {
		// Some verdicts depend on how Go's release prints names.
		fmt.Println(runtime.Version())
		return nil
	}
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New(usage)
	}
	opts, err := parse(args[0], args[1:])
	if err != nil {
		return err
	}
	useConfig(opts.config)
	ctx := log.WithLogger(context.Background(), warnings{log.Discard})
	return commands[args[0]](ctx, opts)
}

// parse reads flags before and after the one reference.
func parse(command string, args []string) (options, error) {
	opts := options{metadata: metadata{}}
	set := flag.NewFlagSet(command, flag.ContinueOnError)
	set.StringVar(&opts.config, "config", os.Getenv("NOTATION_CONFIG"), "folder of trust policy, trust store and signingkeys.json")
	set.BoolVar(&opts.layout, "oci-layout", false, "REFERENCE names an OCI image layout folder")
	set.StringVar(&opts.scope, "scope", "", "registry scope that a layout is verified under")
	set.IntVar(&opts.maxSignatures, "max-signatures", 100, "signatures to examine at most")
	set.DurationVar(&opts.expiry, "expiry", 0, "lifetime of the signature in whole seconds, such as 24h")
	set.DurationVar(&opts.expiry, "e", 0, "short for --expiry")
	set.StringVar(&opts.format, "signature-format", "jws", "jws or cose")
	set.StringVar(&opts.key, "key", "", "key file with --cert, else the name of a key in signingkeys.json")
	set.StringVar(&opts.key, "k", "", "short for --key")
	set.StringVar(&opts.cert, "cert", "", "certificate chain file, leaf first")
	set.Var(opts.metadata, "m", "key=value of user metadata, may be repeated")
	set.Var(opts.metadata, "user-metadata", "long for -m")
	set.BoolVar(&opts.plainHTTP, "plain-http", false, "speak http to the registry")
	set.BoolVar(&opts.plainHTTP, "insecure-registry", false, "same as --plain-http")
	set.StringVar(&opts.username, "username", os.Getenv("NOTATION_USERNAME"), "registry user")
	set.StringVar(&opts.password, "password", os.Getenv("NOTATION_PASSWORD"), "registry password")
	set.BoolVar(&opts.forceTag, "force-referrers-tag", true, "sign: write the fallback tag even where the referrers API exists")
	set.StringVar(&opts.timestampURL, "timestamp-url", "", "RFC 3161 server that countersigns")
	set.StringVar(&opts.timestampRoots, "timestamp-root-cert", "", "PEM file of that server's root")
	for len(args) > 0 {
		if err := set.Parse(args); err != nil {
			return opts, err
		}
		if args = set.Args(); len(args) > 0 {
			if opts.reference != "" {
				return opts, fmt.Errorf("accepts one reference, got %q too", args[0])
			}
			opts.reference, args = args[0], args[1:]
		}
	}
	if opts.reference == "" {
		return opts, errors.New("missing reference")
	}
	if opts.maxSignatures <= 0 {
		return opts, fmt.Errorf("max-signatures value %d must be a positive number", opts.maxSignatures)
	}
	return opts, nil
}

// useConfig points the library at one folder, so that a test never touches
// the configuration or the cache of the person who runs it.
func useConfig(folder string) {
	if folder == "" {
		return
	}
	dir.UserConfigDir = folder
	dir.UserLibexecDir = folder
	dir.UserCacheDir = filepath.Join(folder, "cache")
}

// warnings prints what the library warns about, as the notation command does.
type warnings struct{ log.Logger }

func (warnings) Warnf(format string, args ...any)  { say("warning", fmt.Sprintf(format, args...)) }
func (warnings) Warn(args ...any)                  { say("warning", fmt.Sprint(args...)) }
func (warnings) Warnln(args ...any)                { say("warning", fmt.Sprint(args...)) }
func (warnings) Errorf(format string, args ...any) { say("error", fmt.Sprintf(format, args...)) }
func (warnings) Error(args ...any)                 { say("error", fmt.Sprint(args...)) }
func (warnings) Errorln(args ...any)               { say("error", fmt.Sprint(args...)) }

func say(level, message string) {
	fmt.Fprintf(os.Stderr, "level=%s msg=%s\n", level, message)
}
