//! Places of care, diagnoses, allergies and blood tests.

/// A ward or clinic: name, specialty code (NHS main specialty), what it is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ward {
    pub(crate) name: &'static str,
    pub(crate) specialty: &'static str,
    pub(crate) called: &'static str,
}

/// A consultant: GMC-like code and name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Consultant {
    pub(crate) code: &'static str,
    pub(crate) family: &'static str,
    pub(crate) given: &'static str,
    pub(crate) title: &'static str,
}

/// A code with its text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coded {
    pub(crate) code: &'static str,
    pub(crate) text: &'static str,
}

/// A group of tests done together.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) local: &'static str,
    pub(crate) text: &'static str,
    /// LOINC code of the panel; empty where the lab knows none.
    pub(crate) loinc: &'static str,
    pub(crate) analytes: &'static [Analyte],
}

/// One test. Values are whole numbers of the last decimal place.
#[derive(Debug)]
pub(crate) struct Analyte {
    pub(crate) local: &'static str,
    pub(crate) text: &'static str,
    /// Empty where the lab sends its own code only; the feed's profile maps it.
    pub(crate) loinc: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) low: i64,
    pub(crate) high: i64,
    pub(crate) decimals: usize,
}

macro_rules! ward {
    ($name:literal, $specialty:literal, $called:literal) => {
        Ward { name: $name, specialty: $specialty, called: $called }
    };
}

pub(crate) const WARDS: [Ward; 10] = [
    ward!("WARD 6B", "300", "General Medicine"),
    ward!("WARD 7A", "100", "General Surgery"),
    ward!("AMU", "300", "Acute Medical Unit"),
    ward!("WARD 4C", "430", "Elderly Medicine"),
    ward!("CCU", "320", "Cardiology"),
    ward!("WARD 9 NORTH", "110", "Trauma and Orthopaedics"),
    ward!("RENAL HDU", "361", "Renal Medicine"),
    ward!("MATERNITY", "501", "Obstetrics"),
    ward!("WARD 2 EAST", "340", "Respiratory Medicine"),
    ward!("SDEC", "300", "Same Day Emergency Care"),
];

pub(crate) const CLINICS: [Ward; 8] = [
    ward!("CLINIC 1", "320", "Cardiology Clinic"),
    ward!("CLINIC 2", "307", "Diabetes Clinic"),
    ward!("CLINIC 3", "110", "Fracture Clinic"),
    ward!("CLINIC 4", "130", "Eye Clinic"),
    ward!("CLINIC 5", "410", "Rheumatology Clinic"),
    ward!("CLINIC 6", "330", "Dermatology Clinic"),
    ward!("CLINIC 7", "501", "Antenatal Clinic"),
    ward!("CLINIC 8", "340", "Chest Clinic"),
];

pub(crate) const CHILDRENS_WARD: Ward = ward!("STARLIGHT", "420", "Paediatrics");
pub(crate) const EMERGENCY: Ward = ward!("ED", "180", "Emergency Department");

macro_rules! consultant {
    ($code:literal, $family:literal, $given:literal, $title:literal) => {
        Consultant { code: $code, family: $family, given: $given, title: $title }
    };
}

pub(crate) const CONSULTANTS: [Consultant; 12] = [
    consultant!("C9900101", "Ashdown", "Helen", "Dr"),
    consultant!("C9900102", "Banerjee", "Sunil", "Dr"),
    consultant!("C9900103", "Carrick", "Fiona", "Miss"),
    consultant!("C9900104", "Danso", "Kwabena", "Mr"),
    consultant!("C9900105", "Elwood", "Martin", "Dr"),
    consultant!("C9900106", "Farouk", "Samira", "Dr"),
    consultant!("C9900107", "Goldberg", "Ruth", "Prof"),
    consultant!("C9900108", "Hargreaves", "Paul", "Mr"),
    consultant!("C9900109", "Ikeda", "Naomi", "Dr"),
    consultant!("C9900110", "Jardine", "Colin", "Dr"),
    consultant!("C9900111", "Kapoor", "Rahul", "Mr"),
    consultant!("C9900112", "Lindqvist", "Eva", "Dr"),
];

macro_rules! coded {
    ($($code:literal $text:literal),+ $(,)?) => { [$(Coded { code: $code, text: $text }),+] };
}

/// ICD-10, as UK hospitals code it.
pub(crate) const DIAGNOSES: [Coded; 24] = coded![
    "I10" "Essential (primary) hypertension",
    "E11.9" "Type 2 diabetes mellitus without complications",
    "J18.9" "Pneumonia, unspecified",
    "I50.0" "Congestive heart failure",
    "N39.0" "Urinary tract infection, site not specified",
    "J44.1" "Chronic obstructive pulmonary disease with acute exacerbation",
    "I48.9" "Atrial fibrillation and atrial flutter, unspecified",
    "S72.0" "Fracture of neck of femur",
    "K80.2" "Calculus of gallbladder without cholecystitis",
    "R07.4" "Chest pain, unspecified",
    "N17.9" "Acute renal failure, unspecified",
    "I21.9" "Acute myocardial infarction, unspecified",
    "I63.9" "Cerebral infarction, unspecified",
    "F03.X" "Unspecified dementia",
    "L03.1" "Cellulitis of other parts of limb",
    "A41.9" "Sepsis, unspecified",
    "K35.8" "Acute appendicitis, other and unspecified",
    "G40.9" "Epilepsy, unspecified",
    "J45.9" "Asthma, unspecified",
    "D50.9" "Iron deficiency anaemia, unspecified",
    "N18.3" "Chronic kidney disease, stage 3",
    "M17.9" "Gonarthrosis, unspecified",
    "R55.X" "Syncope and collapse",
    "W19.9" "Unspecified fall: unspecified place",
];

/// SNOMED CT: allergies, each with a usual reaction.
pub(crate) const ALLERGIES: [(Coded, &str, &str); 7] = [
    (Coded { code: "91936005", text: "Allergy to penicillin" }, "DA", "Rash"),
    (Coded { code: "293586001", text: "Allergy to aspirin" }, "DA", "Wheeze"),
    (Coded { code: "91935009", text: "Allergy to peanut" }, "FA", "Anaphylaxis"),
    (Coded { code: "300916003", text: "Latex allergy" }, "MA", "Contact dermatitis"),
    (Coded { code: "294505008", text: "Allergy to amoxicillin" }, "DA", "Urticaria"),
    (Coded { code: "91934008", text: "Allergy to nut" }, "FA", "Swelling of lips"),
    (Coded { code: "91930004", text: "Allergy to egg" }, "FA", "Vomiting"),
];

pub(crate) const NOTES: [&str; 8] = [
    "Sample slightly haemolysed; potassium may be falsely raised.",
    "Please repeat in 3 months.",
    "Result telephoned to ward.",
    "Suggest clinical correlation; previous results reviewed & noted.",
    "Film shows mild anisocytosis. No blasts seen.",
    "eGFR calculated by CKD-EPI 2009 without adjustment for ethnicity.",
    "Fasting status not stated on the request.",
    "Consistent with iron deficiency; consider ferritin | transferrin saturation.",
];

macro_rules! analyte {
    ($local:literal $text:literal $loinc:literal $unit:literal $low:literal $high:literal $decimals:literal) => {
        Analyte { local: $local, text: $text, loinc: $loinc, unit: $unit, low: $low, high: $high, decimals: $decimals }
    };
}

const FBC: [Analyte; 8] = [
    analyte!("HB" "Haemoglobin" "718-7" "g/L" 120 160 0),
    analyte!("WBC" "White cell count" "6690-2" "10*9/L" 40 110 1),
    analyte!("PLT" "Platelets" "777-3" "10*9/L" 150 400 0),
    analyte!("RBC" "Red cell count" "789-8" "10*12/L" 380 550 2),
    analyte!("HCT" "Haematocrit" "4544-3" "L/L" 360 480 3),
    analyte!("MCV" "Mean cell volume" "787-2" "fL" 820 1000 1),
    analyte!("NEUT" "Neutrophils" "751-8" "10*9/L" 20 75 1),
    analyte!("LYMPH" "Lymphocytes" "731-0" "10*9/L" 10 40 1),
];
const UE: [Analyte; 5] = [
    analyte!("NA" "Sodium" "2951-2" "mmol/L" 133 146 0),
    analyte!("K" "Potassium" "2823-3" "mmol/L" 35 53 1),
    analyte!("UREA" "Urea" "22664-7" "mmol/L" 25 78 1),
    analyte!("CREA" "Creatinine" "14682-9" "umol/L" 49 104 0),
    analyte!("GFR" "eGFR" "" "mL/min/{1.73_m2}" 60 90 0),
];
const HBA1C: [Analyte; 1] = [analyte!("A1C" "HbA1c (IFCC)" "59261-8" "mmol/mol" 20 41 0)];
const LFT: [Analyte; 4] = [
    analyte!("ALT" "Alanine transaminase" "1742-6" "U/L" 10 45 0),
    analyte!("ALP" "Alkaline phosphatase" "6768-6" "U/L" 30 130 0),
    analyte!("BILI" "Total bilirubin" "14631-6" "umol/L" 3 21 0),
    analyte!("ALB" "Albumin" "1751-7" "g/L" 35 50 0),
];
const CRP: [Analyte; 1] = [analyte!("CRP" "C-reactive protein" "1988-5" "mg/L" 0 5 0)];
const TFT: [Analyte; 2] = [
    analyte!("TSH" "Thyroid stimulating hormone" "" "mU/L" 27 420 2),
    analyte!("FT4" "Free thyroxine" "14920-3" "pmol/L" 120 220 1),
];
const LIPIDS: [Analyte; 3] = [
    analyte!("CHOL" "Cholesterol" "14647-2" "mmol/L" 30 50 1),
    analyte!("HDL" "HDL cholesterol" "14646-4" "mmol/L" 10 20 1),
    analyte!("TRIG" "Triglycerides" "14927-8" "mmol/L" 5 17 1),
];

pub(crate) const PANELS: [Panel; 7] = [
    Panel { local: "FBC", text: "Full blood count", loinc: "58410-2", analytes: &FBC },
    Panel { local: "UE", text: "Urea and electrolytes", loinc: "24326-1", analytes: &UE },
    Panel { local: "HBA1C", text: "Glycated haemoglobin", loinc: "", analytes: &HBA1C },
    Panel { local: "LFT", text: "Liver function tests", loinc: "24325-3", analytes: &LFT },
    Panel { local: "CRP", text: "C-reactive protein", loinc: "", analytes: &CRP },
    Panel { local: "TFT", text: "Thyroid function tests", loinc: "", analytes: &TFT },
    Panel { local: "LIPID", text: "Lipid profile", loinc: "", analytes: &LIPIDS },
];
