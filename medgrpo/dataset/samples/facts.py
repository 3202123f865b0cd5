"""The medical facts behind the sample data: tables small enough to be checked by eye.

Every sample question is drawn from these tables and every sample answer can be recomputed from
them. A fact is listed only if it is textbook knowledge and has one right answer among the
answers of its kind, so entries with two readings are left out on purpose: -prazole (also
aripiprazole), -tidine (also azacitidine) and -glutide (also teduglutide) are not offered as
suffixes, labetalol and carvedilol are not listed as beta blockers, folate is left out beside
vitamin B12, Streptococcus pyogenes (many diseases) is listed by its Gram stain alone.

Drug name stems: USAN stem list. The rest: any textbook of pharmacology, microbiology, nutrition
or endocrinology.
"""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """One table: what is asked, the answers, and how questions and reasons are worded."""

    facts: dict[str, str]  # entity -> the one right answer
    near: dict[str, str]  # answer -> the answer most easily mistaken for it
    stems: list[str]  # question templates over {x}, {age}, {who}
    reason: str  # the sentence that leads from {x} to {a}
    passage: list[str]  # ways a passage states the fact
    members: str = ""  # asks for all entities with answer {a}; "" where a list makes no sense


# class -> (members, name stem or "" where the stem is ambiguous); neighbours stand in pairs
_DRUG_CLASSES: list[tuple[str, str, str]] = [
    ("ACE inhibitor", "lisinopril enalapril ramipril captopril benazepril quinapril", "-pril"),
    ("angiotensin receptor blocker", "losartan valsartan irbesartan candesartan telmisartan",
     "-sartan"),
    ("beta blocker", "atenolol metoprolol propranolol bisoprolol nadolol esmolol", "-olol"),
    ("alpha-1 blocker", "prazosin terazosin doxazosin tamsulosin silodosin", "-azosin"),
    ("HMG-CoA reductase inhibitor", "atorvastatin simvastatin rosuvastatin pravastatin lovastatin",
     "-vastatin"),
    ("PPAR-alpha agonist", "fenofibrate gemfibrozil clofibrate", "-fibrate"),
    ("proton pump inhibitor", "omeprazole pantoprazole lansoprazole rabeprazole esomeprazole", ""),
    ("H2 receptor blocker", "famotidine ranitidine cimetidine nizatidine", ""),
    ("sodium-chloride cotransport inhibitor",
     "hydrochlorothiazide chlorothiazide bendroflumethiazide", "-thiazide"),
    ("loop diuretic", "furosemide bumetanide torsemide", ""),
    ("beta-lactam", "amoxicillin ampicillin nafcillin oxacillin dicloxacillin piperacillin",
     "-cillin"),
    ("fluoroquinolone", "ciprofloxacin levofloxacin moxifloxacin ofloxacin norfloxacin",
     "-floxacin"),
    ("30S ribosome inhibitor", "doxycycline minocycline demeclocycline eravacycline", "-cycline"),
    ("50S ribosome inhibitor", "azithromycin erythromycin clarithromycin", ""),
    ("ergosterol synthesis inhibitor",
     "fluconazole ketoconazole itraconazole voriconazole posaconazole", "-conazole"),
    ("glucan synthesis inhibitor", "caspofungin micafungin anidulafungin", "-fungin"),
    ("DPP-4 inhibitor", "sitagliptin saxagliptin linagliptin alogliptin", "-gliptin"),
    ("SGLT2 inhibitor", "canagliflozin dapagliflozin empagliflozin ertugliflozin", "-gliflozin"),
    ("GLP-1 receptor agonist", "liraglutide semaglutide dulaglutide", ""),
    ("sulfonylurea", "glipizide glyburide glimepiride tolbutamide", ""),
    ("5-HT1 agonist", "sumatriptan rizatriptan zolmitriptan naratriptan eletriptan", "-triptan"),
    ("5-HT3 antagonist", "ondansetron granisetron palonosetron dolasetron", "-setron"),
    ("benzodiazepine", "lorazepam diazepam clonazepam temazepam oxazepam", "-azepam"),
    ("barbiturate", "phenobarbital secobarbital pentobarbital", "-barbital"),
    ("low-molecular-weight heparin", "enoxaparin dalteparin tinzaparin nadroparin", "-parin"),
    ("direct factor Xa inhibitor", "apixaban rivaroxaban edoxaban", "-xaban"),
]  # fmt: skip

_DEFICIENCY = {
    "vitamin A": "night blindness",
    "vitamin K": "impaired clotting",
    "thiamine": "beriberi",
    "niacin": "pellagra",
    "vitamin C": "scurvy",
    "vitamin D": "rickets",
    "iodine": "goiter",
    "iron": "microcytic anemia",
    "vitamin B12": "subacute combined degeneration",
}
_INFECTION = {
    "Clostridium tetani": "tetanus",
    "Bacillus anthracis": "anthrax",
    "Bordetella pertussis": "whooping cough",
    "Corynebacterium diphtheriae": "diphtheria",
    "Vibrio cholerae": "cholera",
    "Salmonella Typhi": "typhoid fever",
    "Treponema pallidum": "syphilis",
    "Borrelia burgdorferi": "Lyme disease",
    "Yersinia pestis": "plague",
    "Bartonella henselae": "cat-scratch disease",
    "Plasmodium falciparum": "malaria",
    "Trypanosoma cruzi": "Chagas disease",
    "Mycobacterium leprae": "leprosy",
    "Coxiella burnetii": "Q fever",
}
_STAIN = {
    "Staphylococcus aureus": "gram-positive coccus",
    "Streptococcus pneumoniae": "gram-positive coccus",
    "Streptococcus pyogenes": "gram-positive coccus",
    "Enterococcus faecalis": "gram-positive coccus",
    "Neisseria meningitidis": "gram-negative coccus",
    "Neisseria gonorrhoeae": "gram-negative coccus",
    "Moraxella catarrhalis": "gram-negative coccus",
    "Bacillus cereus": "gram-positive rod",
    "Clostridium perfringens": "gram-positive rod",
    "Listeria monocytogenes": "gram-positive rod",
    "Escherichia coli": "gram-negative rod",
    "Klebsiella pneumoniae": "gram-negative rod",
    "Pseudomonas aeruginosa": "gram-negative rod",
    "Serratia marcescens": "gram-negative rod",
}
_HORMONE = {
    "insulin": "pancreas",
    "glucagon": "pancreas",
    "renin": "kidney",
    "erythropoietin": "kidney",
    "cortisol": "adrenal cortex",
    "aldosterone": "adrenal cortex",
    "epinephrine": "adrenal medulla",
    "prolactin": "anterior pituitary",
    "corticotropin": "anterior pituitary",
    "oxytocin": "posterior pituitary",
    "vasopressin": "posterior pituitary",
    "thyroxine": "thyroid",
    "calcitonin": "thyroid",
    "melatonin": "pineal gland",
}
_LAB = {
    "low TSH and high free T4": "hyperthyroidism",
    "high TSH and low free T4": "primary hypothyroidism",
    "high PTH and high calcium": "primary hyperparathyroidism",
    "low PTH and low calcium": "hypoparathyroidism",
    "low pH and high carbon dioxide": "respiratory acidosis",
    "low pH and low bicarbonate": "metabolic acidosis",
    "high pH and low carbon dioxide": "respiratory alkalosis",
    "high pH and high bicarbonate": "metabolic alkalosis",
    "low ferritin and high transferrin": "iron deficiency anemia",
    "high ferritin and low transferrin": "anemia of chronic disease",
}


def _pairs(answers: list[str]) -> dict[str, str]:
    """Neighbours stand side by side: 1st <-> 2nd, 3rd <-> 4th; a last one leans on the previous."""
    return {a: answers[i ^ 1] if i ^ 1 < len(answers) else answers[i - 1]
            for i, a in enumerate(answers)}  # fmt: skip


_CLASS_NEAR = _pairs([name for name, _, _ in _DRUG_CLASSES])

KINDS: dict[str, Kind] = {
    "drug": Kind(
        {drug: name for name, drugs, _ in _DRUG_CLASSES for drug in drugs.split()},
        _CLASS_NEAR,
        ["A {age}-year-old {who} takes {x}. What is the drug class?",
         "Which class does the drug {x} belong to?",
         "A {age}-year-old {who} was started on {x}. Which class is it?",
         "A prescription lists {x}. Name its class."],
        "The class of {x} is: {a}.",
        ["The drug {x} belongs to the class {a}.", "The class of {x} is {a}."],
        "Which drugs of the class {a} are named?",
    ),
    "suffix": Kind(
        {stem: name for name, _, stem in _DRUG_CLASSES if stem},
        _CLASS_NEAR,
        ["The name of a drug ends in {x}. Which class does this suggest?",
         "Which drug class has names that end in {x}?"],
        "The ending {x} marks: {a}.",
        ["Names that end in {x} mark the class {a}."],
    ),
    "deficiency": Kind(
        _DEFICIENCY,
        _pairs(list(_DEFICIENCY.values())),
        ["What does lack of {x} classically cause?",
         "A patient lacks {x}. Which condition is the classic result?",
         "Which condition is the classic sign of {x} deficiency?"],
        "Lack of {x} causes: {a}.",
        ["Lack of {x} causes {a}.", "Deficiency of {x} leads to {a}."],
    ),
    "infection": Kind(
        _INFECTION,
        _pairs(list(_INFECTION.values())),
        ["Which disease does {x} cause?",
         "Tests of a {age}-year-old {who} find {x}. What is the disease?",
         "A {age}-year-old {who} is infected with {x}. What is the diagnosis?"],
        "Infection with {x} causes: {a}.",
        ["Infection with {x} causes {a}.", "The organism {x} causes {a}."],
    ),
    "stain": Kind(
        _STAIN,
        {"gram-positive coccus": "gram-negative coccus",
         "gram-negative coccus": "gram-positive coccus",
         "gram-positive rod": "gram-negative rod", "gram-negative rod": "gram-positive rod"},
        ["How does {x} look on a Gram stain?",
         "A {age}-year-old {who} carries {x}. What does the Gram stain show?"],
        "On Gram stain {x} is a: {a}.",
        ["On Gram stain {x} is a {a}."],
        "Which organisms with the Gram stain result {a} are named?",
    ),
    "hormone": Kind(
        _HORMONE,
        {"pancreas": "kidney", "kidney": "adrenal cortex", "adrenal cortex": "adrenal medulla",
         "adrenal medulla": "adrenal cortex", "anterior pituitary": "posterior pituitary",
         "posterior pituitary": "anterior pituitary", "thyroid": "anterior pituitary",
         "pineal gland": "posterior pituitary"},
        ["Which organ releases {x} into the blood?",
         "A {age}-year-old {who} has a high level of {x}. Which organ normally releases it?"],
        "The organ that releases {x} is: {a}.",
        ["The organ that releases {x} is the {a}."],
        "Which hormones released by the {a} are named?",
    ),
    "lab": Kind(
        _LAB,
        _pairs(list(_LAB.values())),
        ["A {age}-year-old {who} has {x}. What is the diagnosis?",
         "Which diagnosis fits {x}?"],
        "The pattern {x} means: {a}.",
        ["The pattern {x} means {a}."],
    ),
}  # fmt: skip

SYNONYMS: dict[str, str] = {
    "whooping cough": "pertussis",
    "leprosy": "Hansen disease",
    "beta blocker": "beta-adrenergic antagonist",
    "HMG-CoA reductase inhibitor": "statin",
    "DPP-4 inhibitor": "gliptin",
    "SGLT2 inhibitor": "gliflozin",
    "5-HT1 agonist": "triptan",
    "direct factor Xa inhibitor": "xaban",
    "epinephrine": "adrenaline",
    "vasopressin": "antidiuretic hormone",
    "thyroxine": "T4",
    "corticotropin": "ACTH",
}

# Trials are invented, and so are their interventions' effects: only the arithmetic is true.
INTERVENTIONS = ["music", "group exercise", "text reminders", "a printed leaflet", "home visits",
                 "light therapy", "a quiet room", "breathing lessons", "a walking plan",
                 "phone coaching"]  # fmt: skip
OUTCOMES = ["falls", "readmissions", "infections", "missed visits", "headaches", "night wakings",
            "pressure sores", "panic attacks"]  # fmt: skip
PATIENTS = ["asthma", "diabetes", "heart failure", "back pain", "stroke", "migraine", "epilepsy",
            "arthritis"]  # fmt: skip
