package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/config"
	"github.com/notaryproject/notation-go/signer"
	"github.com/notaryproject/tspclient-go"
)

func sign(ctx context.Context, opts options) error {
	key, err := loadSigner(opts)
	if err != nil {
		return err
	}
	signOpts := notation.SignOptions{UserMetadata: opts.metadata}
	signOpts.ExpiryDuration = opts.expiry
	switch opts.format {
	case "jws":
		signOpts.SignatureMediaType = jws.MediaTypeEnvelope
	case "cose":
		signOpts.SignatureMediaType = cose.MediaTypeEnvelope
	default:
		return fmt.Errorf("signature format %q not supported", opts.format)
	}
	if opts.timestampURL != "" {
		if err := addTimestamper(&signOpts, opts); err != nil {
			return err
		}
	}
	target, err := open(ctx, opts)
	if err != nil {
		return err
	}
	signOpts.ArtifactReference = target.descriptor.Digest.String()
	if _, err := notation.Sign(ctx, key, target.repository, signOpts); err != nil {
		if !isLeftoverIndex(err) {
			return err
		}
		fmt.Fprintln(os.Stderr, "Warning: the registry kept the old referrers index:", err)
	}
	fmt.Println("Successfully signed", target)
	return nil
}

// isLeftoverIndex tells that the signature was stored, and only the fallback
// index that it replaced could not be deleted. The library passes on text alone.
func isLeftoverIndex(err error) bool {
	var failed notation.PushSignatureFailedError
	return errors.As(err, &failed) && strings.Contains(failed.Msg, "failed to delete dangling referrers index")
}

// loadSigner takes the two files given, else a pair that signingkeys.json names.
func loadSigner(opts options) (notation.Signer, error) {
	if opts.cert != "" {
		return signer.NewGenericSignerFromFiles(opts.key, opts.cert)
	}
	keys, err := config.LoadSigningKeys()
	if err != nil {
		return nil, err
	}
	var suite config.KeySuite
	if opts.key == "" {
		suite, err = keys.GetDefault()
	} else {
		suite, err = keys.Get(opts.key)
	}
	if err != nil {
		return nil, err
	}
	if suite.X509KeyPair == nil {
		return nil, fmt.Errorf("signing key %s is not a pair of files", suite.Name)
	}
	return signer.NewGenericSignerFromFiles(suite.KeyPath, suite.CertificatePath)
}

func addTimestamper(signOpts *notation.SignOptions, opts options) error {
	timestamper, err := tspclient.NewHTTPTimestamper(nil, opts.timestampURL)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(opts.timestampRoots)
	if err != nil {
		return fmt.Errorf("reading the timestamp root: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("no certificate in %q", opts.timestampRoots)
	}
	signOpts.Timestamper = timestamper
	signOpts.TSARootCAs = roots
	signOpts.TSARevocationValidator = offline{}
	return nil
}
