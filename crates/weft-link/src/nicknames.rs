//! Forms of one given name.

use std::{collections::HashMap, sync::LazyLock};

/// The usual form that a short form or another spelling stands for; the name itself where it is none.
pub(crate) fn formal(given: &str) -> &str {
    FORMAL.get(given).copied().unwrap_or(given)
}

static FORMAL: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
    NICKNAMES.iter().flat_map(|(formal, short)| short.iter().map(move |short| (*short, *formal))).collect()
});

/// Formal name and its short forms; each short form stands for one name.
const NICKNAMES: &[(&str, &[&str])] = &[
    ("ABDUL", &["ABD"]),
    ("ABIGAIL", &["ABBY", "ABBIE", "GAIL"]),
    ("ALBERT", &["AL", "ALBIE"]),
    ("ALEXANDER", &["ALEX", "SANDY", "ALEC"]),
    ("ALFRED", &["ALF", "ALFIE"]),
    ("AMANDA", &["MANDY"]),
    ("ANDREW", &["ANDY", "DREW"]),
    ("ANGELA", &["ANGIE"]),
    ("ANTHONY", &["TONY", "ANTONY"]),
    ("ARTHUR", &["ART", "ARTIE"]),
    ("BARBARA", &["BARB", "BABS"]),
    ("BENJAMIN", &["BEN", "BENNY"]),
    ("BRADLEY", &["BRAD"]),
    ("CAROLINE", &["CARRIE", "CAROLYN"]),
    ("CATHERINE", &["CATH", "CATHY", "KATE", "KATIE", "KATHERINE", "KATHRYN", "KATHY", "KITTY"]),
    ("CHARLES", &["CHARLIE", "CHAS", "CHUCK"]),
    ("CHARLOTTE", &["LOTTIE"]),
    ("CHRISTINE", &["CHRISSIE", "TINA", "CHRISTINA"]),
    ("CHRISTOPHER", &["CHRIS", "KIT"]),
    ("CLIFFORD", &["CLIFF"]),
    ("CYNTHIA", &["CINDY"]),
    ("DANIEL", &["DAN", "DANNY"]),
    ("DAVID", &["DAVE", "DAVEY"]),
    ("DEBORAH", &["DEBBIE", "DEB", "DEBRA"]),
    ("DONALD", &["DON", "DONNIE"]),
    ("DOROTHY", &["DOT", "DOTTIE", "DOLLY"]),
    ("DOUGLAS", &["DOUG"]),
    ("EDWARD", &["ED", "EDDIE", "TED", "NED"]),
    ("ELEANOR", &["NELL", "ELLIE", "NORA"]),
    ("ELIZABETH", &["LIZ", "BETH", "BETTY", "ELIZA", "LIBBY", "LIZZIE", "ELISABETH", "BESS"]),
    ("EMILY", &["EM", "EMMIE"]),
    ("EUGENE", &["GENE"]),
    ("FLORENCE", &["FLO", "FLORRIE"]),
    ("FRANCIS", &["FRANK", "FRAN"]),
    ("FREDERICK", &["FRED", "FREDDIE"]),
    ("GABRIEL", &["GABE"]),
    ("GEOFFREY", &["GEOFF", "JEFF", "JEFFREY"]),
    ("GERALD", &["GERRY"]),
    ("GREGORY", &["GREG"]),
    ("HENRY", &["HARRY", "HAL"]),
    ("HERBERT", &["HERB"]),
    ("HUSSAIN", &["HUSSEIN", "HUSAIN", "HUSSEYN"]),
    ("ISABELLA", &["BELLA", "IZZY", "ISABEL", "ISOBEL"]),
    ("JACOB", &["JAKE"]),
    ("JACQUELINE", &["JACKIE", "JACQUI"]),
    ("JAMES", &["JIM", "JIMMY", "JAMIE"]),
    ("JANET", &["JAN"]),
    ("JENNIFER", &["JENNY", "JEN"]),
    ("JEREMY", &["JERRY"]),
    ("JESSICA", &["JESS", "JESSIE"]),
    ("JOHN", &["JACK", "JOHNNY", "JON"]),
    ("JONATHAN", &["JONATHON", "JONNY"]),
    ("JOSEPH", &["JOE", "JOEY"]),
    ("JOSHUA", &["JOSH"]),
    ("JUDITH", &["JUDY"]),
    ("KENNETH", &["KEN", "KENNY"]),
    ("KIMBERLEY", &["KIM", "KIMBERLY"]),
    ("LAWRENCE", &["LARRY", "LAURENCE", "LAURIE"]),
    ("LEONARD", &["LEN", "LENNY"]),
    ("LEWIS", &["LEW", "LOUIS"]),
    ("LYNDA", &["LINDA", "LYN"]),
    ("MADELEINE", &["MADDIE", "MADDY", "MADELINE"]),
    ("MARGARET", &["MAGGIE", "MEG", "PEGGY", "RITA", "MARGE"]),
    ("MARK", &["MARC"]),
    ("MATTHEW", &["MATT"]),
    ("MEGAN", &["MEGS"]),
    ("MICHAEL", &["MIKE", "MICK", "MICKEY"]),
    ("MOHAMMED", &["MOHAMED", "MUHAMMAD", "MOHAMMAD", "MUHAMMED", "MOHAMAD", "MD", "MOHD"]),
    ("NATHAN", &["NATE"]),
    ("NATHANIEL", &["NAT"]),
    ("NICHOLAS", &["NICK", "NICKY", "NICOLAS"]),
    ("OLIVER", &["OLLIE", "OLLY"]),
    ("PAMELA", &["PAM"]),
    ("PATRICIA", &["PAT", "TRISH", "PATSY", "TRICIA"]),
    ("PENELOPE", &["PENNY"]),
    ("PETER", &["PETE"]),
    ("PHILIP", &["PHIL", "PHILLIP"]),
    ("RAYMOND", &["RAY"]),
    ("REBECCA", &["BECKY", "BECCA"]),
    ("REGINALD", &["REG"]),
    ("RICHARD", &["RICK", "DICK", "RICKY", "RICH"]),
    ("ROBERT", &["BOB", "BOBBY", "ROB", "ROBBIE", "BERT"]),
    ("RONALD", &["RON", "RONNIE"]),
    ("SAMANTHA", &["SAMMIE"]),
    ("SAMUEL", &["SAM", "SAMMY"]),
    ("SANDRA", &["SANDIE"]),
    ("SARAH", &["SARA", "SALLY"]),
    ("STEPHEN", &["STEVEN", "STEVE", "STEPHAN"]),
    ("STUART", &["STU", "STEWART"]),
    ("SUSAN", &["SUE", "SUSIE", "SUZANNE", "SUZIE", "SUZY"]),
    ("TERENCE", &["TERRY", "TERRENCE"]),
    ("THEODORE", &["THEO"]),
    ("THERESA", &["TERESA", "TESS", "TERRI"]),
    ("THOMAS", &["TOM", "TOMMY"]),
    ("TIMOTHY", &["TIM"]),
    ("VALERIE", &["VAL"]),
    ("VICTORIA", &["VICKY", "VIC", "TORI"]),
    ("VINCENT", &["VINCE", "VINNIE"]),
    ("WALTER", &["WALT", "WALLY"]),
    ("WILLIAM", &["BILL", "BILLY", "WILL", "WILLIE", "LIAM"]),
    ("YUSUF", &["YOUSEF", "YOUSUF", "YUSSUF"]),
    ("ZACHARY", &["ZACK", "ZAC", "ZACH"]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn short_forms_have_one_formal_name() {
        assert_eq!((formal("BILL"), formal("WILLIAM"), formal("AMINA")), ("WILLIAM", "WILLIAM", "AMINA"));
        let mut seen = BTreeSet::new();
        for name in NICKNAMES.iter().flat_map(|(formal, short)| short.iter().chain([formal])) {
            assert!(seen.insert(*name), "{name} is told twice");
        }
    }
}
