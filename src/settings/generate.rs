//! A key and a self-signed certificate for trying things out, valid for one day.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use const_oid::db::rfc5280::ID_KP_CODE_SIGNING;
use pkcs8::EncodePrivateKey;
use rsa::pkcs8::EncodePublicKey;
use x509_cert::TbsCertificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::certificate::Certificate as BuiltCertificate;
use x509_cert::der::EncodePem;
use x509_cert::der::pem::LineEnding;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};
use zeroize::Zeroizing;

use super::place::{make_folders, write_new};
use super::stores::{add_bytes, check_name};
use super::{ConfigDir, SettingsError, add_key, read_keys};
use crate::notary::{StoreName, StoreType};
use crate::oci::UnixTime;

/// The key size unless the user says otherwise.
pub const RSA_BITS_DEFAULT: usize = 2048;
/// The smallest key that can be made; it cannot sign.
const RSA_BITS_MIN: usize = 1024;
/// The largest key that can be made.
const RSA_BITS_MAX: usize = 8192;
/// How long the certificate is valid.
const VALIDITY_SECONDS: i64 = 24 * 60 * 60;
/// Serial numbers are 1 to this.
const SERIAL_MAX: u8 = 199;

/// Reports what `cert generate-test` made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedTest {
    /// The key file.
    pub key_path: PathBuf,
    /// The certificate file.
    pub certificate_path: PathBuf,
    /// The copy in the trust store.
    pub trusted_path: PathBuf,
    /// When the certificate expires.
    pub not_after: UnixTime,
}

/// Makes a key and certificate, trusts the certificate and lists the key; all of it or nothing.
///
/// # Errors
/// Refuses a bad name or size, and a name that is taken.
pub fn generate_test(
    dir: &ConfigDir,
    name: &str,
    bits: usize,
    make_default: bool,
    now: UnixTime,
) -> Result<GeneratedTest, SettingsError> {
    check_name(name)?;
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Err(SettingsError::KeySize {
            bits,
            min: RSA_BITS_MIN,
            max: RSA_BITS_MAX,
        });
    }
    if read_keys(dir)?.find(Some(name)).is_ok() {
        return Err(SettingsError::KeyExists {
            name: name.to_owned(),
        });
    }
    let not_after = now.plus(VALIDITY_SECONDS);
    let pair = make_pair(name, bits, (now, not_after))?;
    let mut made = Made(Vec::new());
    let folder = dir.local_keys();
    make_folders(&folder)?;
    let key_path = made.write(
        &folder.join(format!("{name}.key")),
        pair.key.as_bytes(),
        0o600,
    )?;
    let certificate = pair.certificate.as_bytes();
    let certificate_path = made.write(&folder.join(format!("{name}.crt")), certificate, 0o644)?;
    let store = StoreName {
        kind: StoreType::Ca,
        name: name.to_owned(),
    };
    let trusted = add_bytes(dir, &store, &format!("{name}.crt"), certificate)?;
    made.0.push(trusted.path.clone());
    add_key(dir, name, (&key_path, &certificate_path), make_default)?;
    made.0.clear();
    Ok(GeneratedTest {
        key_path,
        certificate_path,
        trusted_path: trusted.path,
        not_after,
    })
}

/// Removes the files it holds when it is dropped.
struct Made(Vec<PathBuf>);

impl Made {
    /// Writes a new file and remembers it.
    fn write(&mut self, path: &Path, bytes: &[u8], mode: u32) -> Result<PathBuf, SettingsError> {
        write_new(path, bytes, mode)?;
        self.0.push(path.to_owned());
        Ok(path.to_owned())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in &self.0 {
            let _nothing_better_to_do = std::fs::remove_file(path);
        }
    }
}

/// Holds a key and its certificate in PEM.
struct Pair {
    key: Zeroizing<String>,
    certificate: String,
}

/// Makes a key and its certificate.
fn make_pair(
    name: &str,
    bits: usize,
    (not_before, not_after): (UnixTime, UnixTime),
) -> Result<Pair, SettingsError> {
    let key = rsa::PrivateKey::new(&mut getrandom::SysRng, bits).map_err(failed)?;
    let public = key.to_public_key().to_public_key_der().map_err(failed)?;
    let subject: Name = format!("CN={name},O=Notary,L=Seattle,ST=WA,C=US")
        .parse()
        .map_err(failed)?;
    let validity = Validity::new(time(not_before)?, time(not_after)?);
    let public = SubjectPublicKeyInfoOwned::try_from(public.as_bytes()).map_err(failed)?;
    let builder =
        CertificateBuilder::new(SelfSigned { subject }, serial_number()?, validity, public)
            .map_err(failed)?;
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(failed)?;
    let signer = rsa::pkcs1v15::SigningKey::<sha2::Sha256>::new(key);
    let certificate: BuiltCertificate = builder.build(&signer).map_err(failed)?;
    Ok(Pair {
        key: pem,
        certificate: certificate.to_pem(LineEnding::LF).map_err(failed)?,
    })
}

/// Returns a random serial number.
fn serial_number() -> Result<SerialNumber, SettingsError> {
    let random = getrandom::u32().map_err(failed)? % u32::from(SERIAL_MAX);
    let serial = u8::try_from(random + 1).map_err(failed)?;
    SerialNumber::new(&[serial]).map_err(failed)
}

/// Returns a time in the form that certificates have.
fn time(moment: UnixTime) -> Result<Time, SettingsError> {
    let seconds = u64::try_from(moment.0).map_err(failed)?;
    let moment: SystemTime = UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .ok_or_else(|| failed("the time is out of range"))?;
    Time::try_from(moment).map_err(failed)
}

/// Returns the error of a step that failed.
fn failed(problem: impl std::fmt::Display) -> SettingsError {
    SettingsError::Generate {
        problem: problem.to_string(),
    }
}

/// Is the certificate's form: self-signed, digitalSignature (critical), codeSigning, nothing else.
struct SelfSigned {
    subject: Name,
}

impl BuilderProfile for SelfSigned {
    fn get_issuer(&self, subject: &Name) -> Name {
        subject.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _key: SubjectPublicKeyInfoRef<'_>,
        _issuer_key: SubjectPublicKeyInfoRef<'_>,
        certificate: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let usage = KeyUsage(KeyUsages::DigitalSignature.into());
        let purpose = ExtendedKeyUsage(vec![ID_KP_CODE_SIGNING]);
        let subject = certificate.subject();
        let usage = usage.to_extension(subject, &[])?;
        let purpose = purpose.to_extension(subject, std::slice::from_ref(&usage))?;
        Ok(vec![usage, purpose])
    }
}
