//! NHS numbers: the check digit, and the classes of numbers that pass it and still prove nothing.

use std::fmt;

/// A ten-digit number whose check digit is right. What it may be used for depends on its [`class`](Self::class).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NhsNumber(u64);

/// What is wrong with a number. Never repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NhsNumberError {
    /// Not ten digits once spaces and hyphens are taken out.
    #[error("not ten digits")]
    NotTenDigits,
    /// The modulus 11 check digit is wrong.
    #[error("the check digit is wrong")]
    CheckDigit,
}

/// Which register a number with a right check digit belongs to, by the ranges of issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NhsNumberClass {
    /// 400-499 and 600-799: England, Wales and the Isle of Man.
    Issued,
    /// 900-999: never issued; synthetic people have these.
    Test,
    /// All digits alike, or a known filler: says "no number".
    Placeholder,
    /// 010-311: a Scottish CHI number whose first six digits are a date.
    ScottishChi,
    /// 320-399: a Northern Irish Health and Care number.
    NorthernIrish,
    /// 800-859: an Irish individual health identifier.
    Irish,
    /// Any other range: not issued.
    Unissued,
}

impl NhsNumber {
    /// Reads a number, spaces and hyphens allowed.
    ///
    /// # Errors
    /// [`NhsNumberError`] says which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, NhsNumberError> {
        let mut value = 0u64;
        let mut count = 0u32;
        let mut sum = 0u64;
        for c in text.trim().chars().filter(|c| !matches!(c, ' ' | '-')) {
            let digit = c.to_digit(10).ok_or(NhsNumberError::NotTenDigits)?;
            if count == 10 {
                return Err(NhsNumberError::NotTenDigits);
            }
            if count < 9 {
                sum += u64::from(digit) * u64::from(10 - count);
            }
            value = value * 10 + u64::from(digit);
            count += 1;
        }
        if count != 10 {
            return Err(NhsNumberError::NotTenDigits);
        }
        // 11 stands for 0; 10 can never match a digit.
        let check = (11 - sum % 11) % 11;
        if check == value % 10 { Ok(Self(value)) } else { Err(NhsNumberError::CheckDigit) }
    }

    /// Makes the number with these nine digits and its check digit; `None` where that would be 10, or there are more digits.
    #[must_use]
    pub fn with_check_digit(nine_digits: u64) -> Option<Self> {
        if nine_digits > 999_999_999 {
            return None;
        }
        let (mut left, mut sum) = (nine_digits, 0);
        for weight in 2..=10 {
            sum += left % 10 * weight;
            left /= 10;
        }
        let check = (11 - sum % 11) % 11;
        (check < 10).then_some(Self(nine_digits * 10 + check))
    }

    /// The ten digits as a number.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }

    /// The register that the number belongs to.
    #[must_use]
    pub fn class(self) -> NhsNumberClass {
        let is_repdigit = self.0.is_multiple_of(1_111_111_111);
        if is_repdigit || matches!(self.0, 1_234_567_890 | 9_876_543_210) {
            return NhsNumberClass::Placeholder;
        }
        match self.0 / 10_000_000 {
            400..=499 | 600..=799 => NhsNumberClass::Issued,
            900..=999 => NhsNumberClass::Test,
            10..=311 if starts_with_a_date(self.0) => NhsNumberClass::ScottishChi,
            320..=399 => NhsNumberClass::NorthernIrish,
            800..=859 => NhsNumberClass::Irish,
            _ => NhsNumberClass::Unissued,
        }
    }
}

/// DDMMYY in front, in some century.
fn starts_with_a_date(number: u64) -> bool {
    let (day, month) = (number / 100_000_000, number / 1_000_000 % 100);
    let days = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

impl fmt::Display for NhsNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

/// Says that there is one, not which.
impl fmt::Debug for NhsNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NhsNumber(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: Result<NhsNumberClass, NhsNumberError>) {
        assert_eq!(NhsNumber::parse(text).map(NhsNumber::class), wanted, "{text}");
    }

    #[test]
    fn check_digit_and_class() {
        check("943 476 5919", Ok(NhsNumberClass::Test));
        check("401-023-2137", Ok(NhsNumberClass::Issued));
        check("4010232138", Err(NhsNumberError::CheckDigit));
        check("401023213", Err(NhsNumberError::NotTenDigits));
        check("40102321370", Err(NhsNumberError::NotTenDigits));
        check("40102321x7", Err(NhsNumberError::NotTenDigits));
        check("", Err(NhsNumberError::NotTenDigits));
        for repeated in 0..10 {
            check(&repeated.to_string().repeat(10), Ok(NhsNumberClass::Placeholder));
        }
        check("9876543210", Ok(NhsNumberClass::Placeholder));
    }

    #[test]
    fn a_check_digit_is_the_one_that_is_read() {
        for nine in (0..999_999_999).step_by(999_983) {
            let by_trial = (0..10).find_map(|check| NhsNumber::parse(&format!("{nine:09}{check}")).ok());
            assert_eq!(NhsNumber::with_check_digit(nine), by_trial, "{nine}");
        }
        assert_eq!(NhsNumber::with_check_digit(1_000_000_000), None);
    }

    #[test]
    fn every_class_is_reached() {
        let class = |nine| (nine..nine + 20).find_map(NhsNumber::with_check_digit).map(NhsNumber::class);
        assert_eq!(class(103_500_000), Some(NhsNumberClass::Unissued));
        assert_eq!(class(860_000_000), Some(NhsNumberClass::Unissued));
        assert_eq!(class(301_270_000), Some(NhsNumberClass::ScottishChi));
        assert_eq!(class(320_000_000), Some(NhsNumberClass::NorthernIrish));
        assert_eq!(class(500_000_000), Some(NhsNumberClass::Unissued));
        assert_eq!(class(800_000_000), Some(NhsNumberClass::Irish));
        assert_eq!(class(999_000_000), Some(NhsNumberClass::Test));
    }

    #[test]
    fn debug_says_nothing() {
        let number = NhsNumber::parse("4010232137").unwrap();
        assert_eq!(format!("{number:?} {number}"), "NhsNumber(..) 4010232137");
    }
}
