//! Waivers are few, known, and become fewer.

use patchbay_conformance::{WAIVERS, all, waivers};

/// How many there are. May only shrink.
const MOST: usize = 0;

#[test]
fn waivers_only_become_fewer() {
    let found = waivers(WAIVERS).expect("tests/conformance/waivers.txt");
    assert_eq!(
        found.len(),
        MOST,
        "write the new number into MOST if there are fewer; a new waiver is not a way out: mend the provider"
    );
    for waiver in &found {
        assert!(
            all().iter().any(|law| law.name == waiver.law),
            "{} is no law",
            waiver.law
        );
    }
}

#[test]
fn a_waiver_has_a_reason() {
    assert!(waivers("publish::proved\tx\tthe platform says nothing\n").is_ok());
    for line in [
        "publish::proved\tx\t\n",
        "publish::proved x why\n",
        "publish::proved\tx\n",
    ] {
        assert!(waivers(line).is_err(), "{line:?}");
    }
}
