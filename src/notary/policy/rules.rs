//! The rules of a trust policy, in notation's order and words.

use super::document::{Document, RawStatement};
use super::{Action, Level, PolicyError, Statement, TimestampRule, WILDCARD};
use crate::notary::identity::Identity;
use crate::notary::words::quote;
use crate::notary::{CheckKind, StoreName, StoreType, anchors};
use crate::oci::Scope;

/// The version that is understood.
const VERSION: &str = "1.0";

/// Identities of one statement: each is compared with each other.
const TRUSTED_IDENTITIES_MAX: usize = 2_000;

/// The prefix of the only kind of identity that is understood.
pub(crate) const SUBJECT_PREFIX: &str = "x509.subject";

/// What each level wants of the five checks, in the order of [`CHECKS`].
const LEVELS: [(Level, [Action; 5]); 4] = {
    use Action::{Enforce, Log, Skip};
    [
        (Level::Strict, [Enforce; 5]),
        (Level::Permissive, [Enforce, Enforce, Log, Log, Log]),
        (Level::Audit, [Enforce, Log, Log, Log, Log]),
        (Level::Skip, [Skip; 5]),
    ]
};

/// The checks in the order of policies.
const CHECKS: [CheckKind; 5] = [
    CheckKind::Integrity,
    CheckKind::Authenticity,
    CheckKind::AuthenticTimestamp,
    CheckKind::Expiry,
    CheckKind::Revocation,
];

/// Checks a document and returns its statements.
pub(super) fn validate(document: Document) -> Result<Vec<Statement>, PolicyError> {
    if document.version.is_empty() {
        return Err(rule(
            "trust policy document has empty version, version must be specified",
        ));
    }
    if document.version != VERSION {
        return Err(rule(format!(
            "trust policy document uses unsupported version {}",
            quote(&document.version)
        )));
    }
    if document.statements.is_empty() {
        return Err(rule(
            "trust policy document can not have zero trust policy statements",
        ));
    }
    let mut statements: Vec<Statement> = Vec::with_capacity(document.statements.len());
    let mut names = std::collections::BTreeSet::new();
    for raw in document.statements {
        if !names.insert(raw.name.clone()) {
            return Err(rule(format!(
                "multiple trust policy statements use the same name {}, statement names must be unique",
                quote(&raw.name)
            )));
        }
        statements
            .push(statement(raw).map_err(|problem| rule(format!("trust policy: {problem}")))?);
    }
    scopes(&statements)?;
    Ok(statements)
}

/// Checks one statement, its scopes excepted.
fn statement(raw: RawStatement) -> Result<Statement, String> {
    if raw.name.is_empty() {
        return Err(
            "a trust policy statement is missing a name, every statement requires a name"
                .to_owned(),
        );
    }
    let name = quote(&raw.name);
    let invalid = |problem: String| {
        format!("trust policy statement {name} has invalid signatureVerification: {problem}")
    };
    let (level, actions) = verification(&raw).map_err(invalid)?;
    let verify_timestamp = timestamp_rule(&raw.verify_timestamp).map_err(invalid)?;
    let listed = (
        !raw.trust_stores.is_empty(),
        !raw.trusted_identities.is_empty(),
    );
    let trust_stores = match (level, listed) {
        (Level::Skip, (false, false)) => Vec::new(),
        (Level::Skip, _) => {
            return Err(format!(
                "trust policy statement {name} is set to skip signature verification but configured with trust stores and/or trusted identities, remove them if signature verification needs to be skipped"
            ));
        }
        (_, (true, true)) => {
            let stores = trust_stores(&name, &raw.trust_stores)?;
            identities(&name, &raw.trusted_identities)?;
            stores
        }
        _ => {
            return Err(format!(
                "trust policy statement {name} is either missing trust stores or trusted identities, both must be specified"
            ));
        }
    };
    Ok(Statement {
        overridden: !raw.overrides.is_empty(),
        name: raw.name,
        registry_scopes: raw.registry_scopes,
        level,
        actions,
        verify_timestamp,
        trust_stores,
        trusted_identities: raw.trusted_identities,
    })
}

/// Returns the level and what is wanted of each check, overrides applied.
fn verification(raw: &RawStatement) -> Result<(Level, [(CheckKind, Action); 5]), String> {
    if raw.level.is_empty() {
        return Err(
            "signature verification level is empty or missing in the trust policy statement"
                .to_owned(),
        );
    }
    let Some((level, wanted)) = LEVELS.iter().find(|(level, _)| level.name() == raw.level) else {
        return Err(format!(
            "invalid signature verification level {}",
            quote(&raw.level)
        ));
    };
    if *level == Level::Skip && !raw.overrides.is_empty() {
        return Err(format!(
            "signature verification level {} can't be used to customize signature verification",
            quote(&raw.level)
        ));
    }
    let mut wanted = wanted.iter();
    let mut actions = CHECKS.map(|kind| (kind, wanted.next().copied().unwrap_or(Action::Enforce)));
    for (check, action) in &raw.overrides {
        let (kind, action) = override_of(check, action)?;
        for (known, current) in &mut actions {
            if *known == kind {
                *current = action;
            }
        }
    }
    Ok((*level, actions))
}

/// Returns one override.
fn override_of(check: &str, action: &str) -> Result<(CheckKind, Action), String> {
    let Some(kind) = CHECKS.into_iter().find(|kind| kind.name() == check) else {
        return Err(format!(
            "verification type {} in custom signature verification is not supported, supported values are [\"integrity\" \"authenticity\" \"authenticTimestamp\" \"expiry\" \"revocation\"]",
            quote(check)
        ));
    };
    let action = match action {
        "enforce" => Action::Enforce,
        "log" => Action::Log,
        "skip" => Action::Skip,
        _ => {
            return Err(format!(
                "verification action {} in custom signature verification is not supported, supported values are [\"enforce\" \"log\" \"skip\"]",
                quote(action)
            ));
        }
    };
    match (kind, action) {
        (CheckKind::Integrity, _) => Err(format!(
            "{} verification can not be overridden in custom signature verification",
            quote(check)
        )),
        (
            CheckKind::Authenticity | CheckKind::AuthenticTimestamp | CheckKind::Expiry,
            Action::Skip,
        ) => Err(format!(
            "{} verification can not be skipped in custom signature verification",
            quote(check)
        )),
        _ => Ok((kind, action)),
    }
}

/// Returns the rule for timestamps.
fn timestamp_rule(text: &str) -> Result<TimestampRule, String> {
    match text {
        "" | "always" => Ok(TimestampRule::Always),
        "afterCertExpiry" => Ok(TimestampRule::AfterCertExpiry),
        _ => Err(format!(
            "verifyTimestamp must be \"always\" or \"afterCertExpiry\", but got {}",
            quote(text)
        )),
    }
}

/// Checks the trust stores that a statement names. `name` is quoted.
fn trust_stores(name: &str, values: &[String]) -> Result<Vec<StoreName>, String> {
    let mut stores: Vec<StoreName> = Vec::with_capacity(values.len());
    for value in values {
        let Some((kind, store)) = value.split_once(':') else {
            return Err(format!(
                "trust policy statement {name} has malformed trust store value {}. The required format is <TrustStoreType>:<TrustStoreName>",
                quote(value)
            ));
        };
        let Some(kind) = StoreType::from_name(kind) else {
            return Err(format!(
                "trust policy statement {name} uses an unsupported trust store type {} in trust store value {}",
                quote(kind),
                quote(value)
            ));
        };
        if !anchors::is_file_name(store) {
            return Err(format!(
                "trust policy statement {name} uses an unsupported trust store name {} in trust store value {}. Named store name needs to follow [a-zA-Z0-9_.-]+ format",
                quote(store),
                quote(value)
            ));
        }
        stores.push(StoreName {
            kind,
            name: store.to_owned(),
        });
    }
    Ok(stores)
}

/// Checks the trusted identities of a statement. `name` is quoted.
fn identities(name: &str, values: &[String]) -> Result<(), String> {
    if values.len() > 1 && values.iter().any(|value| value == WILDCARD) {
        return Err(format!(
            "trust policy statement {name} uses a wildcard trusted identity '*', a wildcard identity cannot be used in conjunction with other values"
        ));
    }
    if values.len() > TRUSTED_IDENTITIES_MAX {
        return Err(format!(
            "trust policy statement {name} has more than {TRUSTED_IDENTITIES_MAX} trusted identities"
        ));
    }
    let mut parsed: Vec<(&str, Identity)> = Vec::new();
    for value in values.iter().filter(|value| *value != WILDCARD) {
        if let Some(identity) = identity(name, value)? {
            parsed.push((value, identity));
        }
    }
    for (i, (first_text, first)) in parsed.iter().enumerate() {
        for (j, (second_text, second)) in parsed.iter().enumerate() {
            if i != j && first.is_within(second) {
                return Err(format!(
                    "trust policy statement {name} has overlapping x509 trustedIdentities, {} overlaps with {}",
                    quote(first_text),
                    quote(second_text)
                ));
            }
        }
    }
    Ok(())
}

/// Checks one identity; `None` for a kind that is not understood and never matches.
fn identity(name: &str, value: &str) -> Result<Option<Identity>, String> {
    if value.is_empty() {
        return Err(format!(
            "trust policy statement {name} has an empty trusted identity"
        ));
    }
    let Some((prefix, distinguished_name)) = value.split_once(':') else {
        return Err(format!(
            "trust policy statement {name} has trusted identity {} missing separator",
            quote(value)
        ));
    };
    if prefix != SUBJECT_PREFIX {
        return Ok(None);
    }
    if distinguished_name.is_empty() {
        return Err(format!(
            "trust policy statement {name} has trusted identity {} without an identity value",
            quote(value)
        ));
    }
    let identity = Identity::parse(distinguished_name).map_err(|problem| {
        format!(
            "trust policy statement {name} has trusted identity {} with invalid identity value: {problem}",
            quote(value)
        )
    })?;
    Ok(Some(identity))
}

/// Checks the scopes of all statements: present, well-formed, each in one place only.
fn scopes(statements: &[Statement]) -> Result<(), PolicyError> {
    let mut all = Vec::new();
    for statement in statements {
        let name = quote(&statement.name);
        let scopes = &statement.registry_scopes;
        if scopes.is_empty() {
            return Err(rule(format!(
                "trust policy statement {name} has zero registry scopes, it must specify registry scopes with at least one value"
            )));
        }
        if scopes.len() > 1 && scopes.iter().any(|scope| scope == WILDCARD) {
            return Err(rule(format!(
                "trust policy statement {name} uses wildcard registry scope '*', a wildcard scope cannot be used in conjunction with other scope values"
            )));
        }
        for scope in scopes.iter().filter(|scope| *scope != WILDCARD) {
            scope_format(scope)?;
        }
        all.extend(scopes);
    }
    let mut seen = std::collections::BTreeSet::new();
    match all.into_iter().find(|scope| !seen.insert(*scope)) {
        None => Ok(()),
        Some(scope) => Err(rule(format!(
            "registry scope {} is present in multiple trust policy statements, one registry scope value can only be associated with one statement",
            quote(scope)
        ))),
    }
}

/// Checks the format of one scope that is not `*`.
fn scope_format(scope: &str) -> Result<(), PolicyError> {
    let what = if scope.len() > 1 && scope.contains('*') {
        " with wild card(s)"
    } else if Scope::parse(scope).is_err() {
        ""
    } else {
        return Ok(());
    };
    Err(rule(format!(
        "registry scope {}{what} is not valid, make sure it is a fully qualified repository without the scheme, protocol or tag. For example domain.com/my/repository or a local scope like local/myOCILayout",
        quote(scope)
    )))
}

/// Returns the refusal for a broken rule.
fn rule(problem: impl Into<String>) -> PolicyError {
    PolicyError::Rule {
        problem: problem.into(),
    }
}
