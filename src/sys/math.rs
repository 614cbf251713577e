//! Powers of numbers, without the system's library of mathematics.
//!
//! The estimate of the progress bar alone asks for one, and for it the loader would map that library at the start of every command.

/// Answers calls that the compiler makes of `f64::powf`, by the name that C gives them.
// SAFETY: it has the name, the types and the meaning of C's `pow`.
#[unsafe(no_mangle)]
extern "C" fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}

#[cfg(test)]
mod tests {
    #[test]
    fn powers_are_those_of_mathematics() {
        for (base, exponent, power) in [(0.1, 0.0, 1.0), (2.0, 10.0, 1024.0), (0.25, 0.5, 0.5)] {
            let found = std::hint::black_box::<f64>(base).powf(std::hint::black_box(exponent));
            assert!((found - power).abs() < 1e-12, "{base} {exponent} {found}");
        }
    }
}
