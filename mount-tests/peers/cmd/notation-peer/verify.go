package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-core-go/revocation/result"
	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/dir"
	"github.com/notaryproject/notation-go/plugin"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
)

func verify(ctx context.Context, opts options) error {
	opts.forceTag = false
	if opts.layout && opts.scope == "" {
		return errors.New("--oci-layout needs --scope")
	}
	judge, err := loadVerifier()
	if err != nil {
		return err
	}
	target, err := open(ctx, opts)
	if err != nil {
		return err
	}
	scope := target.name
	if opts.layout {
		scope = opts.scope
	}
	_, outcomes, err := notation.Verify(ctx, judge, target.repository, notation.VerifyOptions{
		ArtifactReference:    scope + "@" + target.descriptor.Digest.String(),
		MaxSignatureAttempts: opts.maxSignatures,
		UserMetadata:         opts.metadata,
	})
	if err != nil {
		return explain(err, target)
	}
	if len(outcomes) == 0 {
		return errors.New("the library reported neither an error nor an outcome")
	}
	return report(outcomes[0], target)
}

func loadVerifier() (notation.Verifier, error) {
	policy, err := trustpolicy.LoadDocument()
	if err != nil {
		return nil, err
	}
	store := truststore.NewX509TrustStore(dir.ConfigFS())
	return verifier.NewWithOptions(policy, store, plugin.NewCLIManager(dir.PluginFS()), verifier.VerifierOptions{
		RevocationCodeSigningValidator:  offline{},
		RevocationTimestampingValidator: offline{},
	})
}

// explain words a failure. Why each signature failed was logged by the library.
func explain(err error, target artifact) error {
	var failed notation.VerificationFailedError
	if errors.As(err, &failed) {
		return fmt.Errorf("signature verification failed for all the signatures associated with %s", target)
	}
	return fmt.Errorf("signature verification failed: %w", err)
}

func report(outcome *notation.VerificationOutcome, target artifact) error {
	if outcome.VerificationLevel.Name == trustpolicy.LevelSkip.Name {
		fmt.Println("Trust policy is configured to skip signature verification for", target)
		return nil
	}
	for _, check := range outcome.VerificationResults {
		if check.Error != nil && check.Action == trustpolicy.ActionLog {
			fmt.Fprintf(os.Stderr, "Warning: %s was set to %q and failed with error: %v\n", check.Type, check.Action, check.Error)
		}
	}
	fmt.Println("Successfully verified signature for", target)
	metadata, err := outcome.UserMetadata()
	if err != nil || len(metadata) == 0 {
		return err
	}
	fmt.Print("\nThe artifact was signed with the following user metadata.\n\n")
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "KEY\tVALUE\t")
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		fmt.Fprintf(table, "%s\t%s\t\n", key, metadata[key])
	}
	return table.Flush()
}

// offline answers for every certificate that it names no revocation service.
type offline struct{}

func (offline) ValidateContext(_ context.Context, opts revocation.ValidateContextOptions) ([]*result.CertRevocationResult, error) {
	answers := make([]*result.CertRevocationResult, len(opts.CertChain))
	for i := range answers {
		answers[i] = &result.CertRevocationResult{
			Result:        result.ResultNonRevokable,
			ServerResults: []*result.ServerResult{{Result: result.ResultNonRevokable}},
		}
	}
	return answers, nil
}
