"""What goes wrong in small shops with their till: the material that the example's tickets are made of.

In curly brackets stand details that are drawn for each ticket (see tickets.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

APP, OFFICE, READER, PRINTER, WEBSHOP = (
    "Tillbird Register",
    "Tillbird Back Office",
    "Tillbird Pay reader",
    "Tillbird Print",
    "Tillbird Webshop",
)


@dataclass(frozen=True, slots=True)
class Situation:
    """One kind of trouble, in two tellings: each title has its description.

    `priorities` are drawn from. `dialogue` alternates: an agent, the customer, an agent, …
    """

    priorities: str
    products: tuple[str, ...]
    titles: tuple[str, ...]
    descriptions: tuple[str, ...]
    dialogue: tuple[str, ...]


SITUATIONS: Final = (
    Situation(
        "urgent high",
        (READER,),
        ("Card reader does not connect since {day}", "Reader stuck on “Searching for register”"),
        (
            "The {product} has not connected since {day} around {time}. The light blinks blue, the register "
            "says “No reader found”. We can only take cash at the moment.",
            "After lunch the reader lost its connection and does not find the register any more. We "
            "restarted both, twice. Customers are leaving without buying.",
        ),
        (
            "Sorry about this. Please hold the power button of the reader for 15 seconds until it beeps "
            "twice, then pair it again under Settings > Readers. Does it show up there?",
            "It shows up now, but as “Reader (old firmware)”.",
            "That is the cause: the register was updated before the reader. I have released firmware "
            "{version} to it, it installs within five minutes while the reader is on its charger.",
        ),
    ),
    Situation(
        "urgent high",
        (READER,),
        ("Payment taken twice from a customer", "Customer charged twice, {amount} each"),
        (
            "A customer paid {amount} on {day} at {time}. The reader said “declined”, so we tried again, "
            "and now she has both on her statement. Receipt {ref}. She is rather upset, please refund one "
            "of them.",
            "Two identical payments over {amount} appear in the list for {day}, but we sold the {item} only "
            "once. The first attempt showed a time-out on the reader. Reference {ref}.",
        ),
        (
            "I see both payments. The first one was authorised but never confirmed by the reader. I have "
            "marked it for reversal; it takes two to three working days to show on the customer's "
            "statement.",
            "Thank you. Can I give her something in writing?",
            "Of course: I have sent a confirmation of the reversal with its reference to your address, you "
            "can forward it as it is.",
        ),
    ),
    Situation(
        "normal low",
        (PRINTER,),
        ("Receipts come out blank", "Printer feeds paper but prints nothing"),
        (
            "Since we put in a new roll, the {product} only gives us white paper. It cuts and feeds as "
            "usual.",
            "We changed to cheaper paper rolls on {day} and since then receipts are empty, although the "
            "printer sounds as if it were printing.",
        ),
        (
            "Thermal paper prints on one side only. Could you turn the roll around, or scratch the paper "
            "with a fingernail: the side that turns dark must face the print head.",
            "You are right, the roll was the wrong way round. Slightly embarrassing!",
        ),
    ),
    Situation(
        "high normal",
        (PRINTER, APP),
        ("Kitchen printer prints orders twice", "Every order is printed two times in the kitchen"),
        (
            "Since the update on {day} each order comes out twice in the kitchen. The cooks have already "
            "made {count} dishes too many.",
            "We get two slips for every order. Only at the kitchen printer, the one at the counter is fine. "
            "Register version {version}.",
        ),
        (
            "Please look under Settings > Printers: is the kitchen printer listed there twice, once by "
            "cable and once by network?",
            "Yes! One with an IP address and one called USB.",
            "Remove the one called USB. The update found the printer a second time; a correction is on its "
            "way in the next version.",
        ),
    ),
    Situation(
        "normal",
        (OFFICE,),
        ("Daily closing differs from cash count by {amount}", "Cash report does not add up on {day}"),
        (
            "According to the daily closing of {day} there should be {amount} more in the drawer. We "
            "counted three times. Where can I see each cash movement?",
            "Our closing is off by exactly {amount}. That happens to be the price of the {item} which we "
            "took back that afternoon.",
        ),
        (
            "The refund of that afternoon was booked as a card refund although the money was given in cash. "
            "You find it under Reports > Movements with a small arrow beside it.",
            "Found it. How do I correct a day that is closed?",
            "Closed days cannot be changed, but you can book a correction on today's date with a reference "
            "to {ref}. Your accountant will want to see that note.",
        ),
    ),
    Situation(
        "high normal",
        (OFFICE,),
        ("VAT rate wrong on takeaway", "Wrong tax on {count} products after import"),
        (
            "Takeaway drinks are booked with the full rate since {day}. Our accountant noticed. Can this be "
            "corrected for the past days too?",
            "After we imported the new price list, {count} products have the standard VAT rate although "
            "they had the reduced one before.",
        ),
        (
            "The import file has an empty column “tax”, and empty means the standard rate. If you import it "
            "again with the column removed, the rates stay as they were.",
            "And the sales that were already booked with the wrong rate?",
            "I have prepared a correction for the days since {day}; please check it under Reports > "
            "Corrections and confirm it there.",
        ),
    ),
    Situation(
        "normal low",
        (OFFICE,),
        ("How do I export sales for my accountant?", "DATEV export for last quarter"),
        (
            "My accountant asks for all sales of the last quarter as a file she can import. I only find PDF "
            "reports.",
            "Where do I find the export for accounting software? Last year it was under Reports, now it is "
            "gone.",
        ),
        (
            "It moved to Accounting > Exports in spring. Choose the quarter and the format of your "
            "accountant's program; CSV works everywhere.",
            "Found it, thanks. Can it be sent to her automatically every month?",
            "Yes: on the same page, “Send regularly”, with her address. It goes out on the third of each "
            "month.",
        ),
    ),
    Situation(
        "urgent",
        (APP,),
        ("Register shows a white screen", "Register app does not start any more"),
        (
            "The tablet at the counter shows only a white screen after the logo. The second tablet works. "
            "We open at nine and need both on {day}.",
            "{product} closes by itself right after the start, since this morning {time}. Version {version}.",
        ),
        (
            "Is the tablet's memory full? Settings > Storage shows it. Please do not remove the app: sales "
            "that were not sent yet would be lost with it.",
            "Storage says 0.2 GB free.",
            "Then please delete old photos or downloads until 2 GB are free and start it again. It needs "
            "some space to update its database.",
            "It starts again, and all of yesterday's sales are there.",
        ),
    ),
    Situation(
        "high",
        (APP,),
        ("Sales from {day} are missing in the reports", "Register has not synchronised since {day}"),
        (
            "In Back Office our sales end on {day} at {time}, but we sold until six. The register shows a "
            "cloud with an exclamation mark.",
            "{count} sales are waiting to be sent according to the register. We have internet, the card "
            "reader works through the same connection.",
        ),
        (
            "The sales are safe on the tablet. Its clock is wrong by several hours, and our servers refuse "
            "that. Please switch on automatic date and time in the tablet's settings.",
            "Done, the number goes down now. Everything is through.",
        ),
    ),
    Situation(
        "normal",
        (APP, OFFICE),
        ("New employee cannot log in", "PIN of {colleague} is refused"),
        (
            "I created a login for our new colleague, but the register says “unknown PIN”. In Back Office "
            "the account is there and active.",
            "Since {day} the PIN of one employee is not accepted any more. We did not change anything.",
        ),
        (
            "The account belongs to your other location. Under Team > Locations you can tick both. The "
            "register needs a minute to learn of it.",
            "That was it. Thank you for the quick help.",
        ),
    ),
    Situation(
        "high normal",
        (OFFICE,),
        ("Two-factor code is not accepted", "Locked out of Back Office"),
        (
            "I have a new phone and the codes of the authenticator app are refused. I am the only "
            "administrator.",
            "Back Office says that my account is locked after too many attempts. I need the wage report by "
            "{day}.",
        ),
        (
            "I can switch off the second factor once we have verified you: please call the number on your "
            "invoice and name your customer number and the amount of the last invoice.",
            "I called, your colleague was very kind.",
            "The second factor is off until your next login, which will ask you to set it up on the new "
            "phone. Please print the recovery codes this time.",
        ),
    ),
    Situation(
        "normal low",
        (OFFICE,),
        ("Question about invoice {ref}", "Why were we charged {amount} more this month?"),
        (
            "Our invoice {ref} is {amount} higher than last month's and I do not see why. We did not order "
            "anything.",
            "On invoice {ref} there are {count} registers. We have had two since the beginning.",
        ),
        (
            "A third register was activated with your administrator login on {day}. Was a tablet set up "
            "anew that day?",
            "Ah yes, we replaced a broken one.",
            "Then the old one still counts. I have removed it and credited {amount} on your next invoice.",
        ),
    ),
    Situation(
        "normal",
        (OFFICE,),
        ("Please cancel our subscription", "Cancellation of the location at the market"),
        (
            "We are closing at the end of the season and want to cancel in time. Please confirm the date, "
            "and tell me how long we can still get at our data.",
            "Our second location will not reopen. Please cancel it from the end of the month; the first "
            "stays as it is.",
        ),
        (
            "I am sorry to hear that. The subscription ends at the end of next month. Your data remain "
            "readable for twelve months and can be exported under Accounting > Exports.",
            "Thank you, that helps. We need the figures for the tax office.",
        ),
    ),
    Situation(
        "low",
        (APP,),
        ("Suggestion: split a bill by seat", "Could tables be moved to another area?"),
        (
            "Groups often want to pay separately. At the moment we tick every item by hand. It would be "
            "great to assign items to seats while ordering.",
            "In summer we move tables outside. It would help if they could be moved in the plan with their "
            "open bills.",
        ),
        (
            "Thank you, I have added your vote: {count} other shops asked for it. I shall write to you when "
            "there is something to try.",
        ),
    ),
    Situation(
        "high normal",
        (WEBSHOP,),
        ("Webshop sells items that are out of stock", "Stock in webshop is not updated"),
        (
            "The webshop sold {count} pieces of the {item} on {day}, and we have none. I had to call the "
            "customers.",
            "Stock goes down when we sell at the counter, but the webshop keeps showing the old number.",
        ),
        (
            "Each article has its own switch “stock shared with webshop”. For articles created before "
            "spring it is off. Shall I switch it on for all of them?",
            "Yes please, for all.",
            "Done. The numbers are taken from the counter every two minutes from now on.",
        ),
    ),
    Situation(
        "normal",
        (WEBSHOP,),
        ("Order confirmation e-mails land in spam", "Customers do not get order confirmations"),
        (
            "Several customers tell us that our confirmations are in their spam folder. Others never got "
            "one.",
            "Orders {ref} and following: the customers say that no e-mail arrived. Mails from our own "
            "address do.",
        ),
        (
            "Your shop sends from your own domain, but the domain does not name us as a sender yet. Whoever "
            "looks after your domain needs to add the two DNS records shown under Webshop > E-mail.",
            "My nephew added them on {day}. The page now shows two green ticks.",
            "Looks good from here too. It may take a day until all providers have seen it.",
        ),
    ),
    Situation(
        "urgent high",
        (WEBSHOP,),
        ("Checkout fails with “payment method not available”", "Nobody can pay in the webshop since {day}"),
        (
            "Since {day}, {time} every attempt to pay ends with “payment method not available”. We tried it "
            "ourselves with two cards.",
            "Our webshop had no order for two days, which never happens before the holidays. At the last "
            "step all payment methods are grey.",
        ),
        (
            "The contract for online payments asks for a renewed proof of identity. The e-mail about it "
            "went to the former owner. I have sent you the link.",
            "I uploaded my passport right away.",
            "Verified. Payments work again; I placed and cancelled a test order.",
        ),
    ),
    Situation(
        "normal low",
        (WEBSHOP,),
        ("Photos are shown turned by 90 degrees", "Pictures of articles look blurred"),
        (
            "I took photos of the new collection with my phone. In the shop all of them lie on their side.",
            "The pictures look sharp on my computer, but blurred in the shop, especially on the phone.",
        ),
        (
            "That is a mistake of ours with photos from newer phones. If you open and save them once on "
            "your computer before uploading, they appear correctly. A correction is planned for version "
            "{version}.",
            "That works. It is a bit tedious with {count} photos, but all right.",
        ),
    ),
    Situation(
        "normal",
        (OFFICE,),
        ("Import of price list stops at row {count}", "CSV import: “unknown character”"),
        (
            "I try to import our supplier's price list. It stops at row {count} with “unknown character”. "
            "In that row there is a product with an accent in its name.",
            "The import says that it read {count} rows, but only half of the articles are there.",
        ),
        (
            "The file is stored in an old character set. In your spreadsheet, choose “CSV UTF-8” when "
            "saving. Send it to me if that choice is missing.",
            "With CSV UTF-8 it went through. You could mention that on the page!",
            "Good point, I have passed it on.",
        ),
    ),
    Situation(
        "high normal",
        (READER,),
        ("Reader battery is empty after two hours", "Card reader does not charge"),
        (
            "The reader used to last all day, now it is empty by noon. It is {count} months old.",
            "The {product} stays at 3 % although it is on its charger all night. Another cable did not help.",
        ),
        (
            "Please send me the serial number on the back. Readers of one delivery had a weak battery and "
            "we replace them.",
            "It is TB-{ref}.",
            "That is one of them. A replacement is on its way and should arrive on {day}; a return label is "
            "in the box.",
        ),
    ),
    Situation(
        "high",
        (READER, APP),
        ("Contactless payments are declined", "Tapping a card does not work, inserting does"),
        (
            "Since {day} nobody can pay by tapping. With the chip it works. Phones are declined as well.",
            "Every contactless payment above {amount} is refused and the customer has to insert the card.",
        ),
        (
            "There was a wrong limit in the configuration that readers fetched on {day}. Please switch the "
            "reader off and on, it then gets the correct one.",
            "Tapping works again, phones too.",
        ),
    ),
    Situation(
        "normal",
        (READER,),
        ("Payout of {day} is missing", "Payout is lower than card sales"),
        (
            "We usually get the card payments of the day before. The payout for {day} did not arrive at our "
            "bank.",
            "The payout is {amount} lower than our card sales of that day. What was deducted?",
        ),
        (
            "{day} was a bank holiday where your bank is, so it arrives together with the next one. The "
            "details are under Payments > Payouts.",
            "It is there now, both days together.",
        ),
    ),
    Situation(
        "normal low",
        (APP,),
        ("Discount button has disappeared", "Cannot give staff discount any more"),
        (
            "The button for discounts is gone since the update to {version}. Regular customers ask for "
            "their 10 %.",
            "Our staff discount cannot be chosen any more at the register. I see it in Back Office as usual.",
        ),
        (
            "Since that version discounts are a right of their own. Under Team > Roles, please tick “may "
            "give discounts” for those who may.",
            "I see. It is back for the whole team.",
        ),
    ),
    Situation(
        "normal",
        (APP,),
        ("Voucher bought in the webshop is unknown at the counter", "Gift voucher {ref} cannot be redeemed"),
        (
            "A customer wants to redeem voucher {ref} over {amount}. The register says that it does not "
            "exist. She bought it in our webshop.",
            "The voucher was sold at the counter on {day} and is “not active” now. I gave the customer the "
            "{item} on trust.",
        ),
        (
            "The sale of the voucher was paid but never finished at the register, so it was not activated. "
            "I have activated it by hand; it is worth {amount}.",
            "It worked, the customer was happy.",
        ),
    ),
    Situation(
        "low normal",
        (PRINTER,),
        ("Logo on receipts is cut off", "Please help: change the text at the bottom of receipts"),
        (
            "Our new logo is printed only half. On the preview it looks right.",
            "I would like our opening hours at the bottom of every receipt instead of the old address.",
        ),
        (
            "You can change it under Settings > Receipts in Back Office. Logos may be up to 384 points "
            "wide; a wider one is cut on the right.",
            "Made it smaller, it looks good now.",
        ),
    ),
    Situation(
        "high",
        (PRINTER,),
        ("Cash drawer does not open", "Drawer opens only with the key"),
        (
            "After a cash payment the drawer stays closed. We open it with the key each time, and the queue "
            "grows.",
            "The drawer does not open any more since we moved the counter on {day}. The printer prints.",
        ),
        (
            "The drawer gets its signal from the printer. Please check that its cable sits in the socket "
            "marked DK on the printer, not in the telephone socket beside it.",
            "It was in the wrong one after the move. Solved!",
        ),
    ),
    Situation(
        "normal",
        (PRINTER, APP),
        ("Printer not found after change of router", "No printer since we have a new internet provider"),
        (
            "Our provider replaced the router on {day}. The tablet is online again, but the {product} is "
            "not found.",
            "New router, same name of the network and same password, and still the register does not see "
            "the printer.",
        ),
        (
            "The printer kept its old address. Please print its network slip: hold the feed button while "
            "switching it on. Then press “Search again” under Settings > Printers.",
            "The search found it at 192.168.178.{count}. Receipts are printing.",
        ),
    ),
    Situation(
        "normal low",
        (OFFICE,),
        ("Report by employee is empty", "Working hours are not shown"),
        (
            "The report “sales by employee” is empty since {day}, although everybody uses their own PIN.",
            "I cannot see the working hours of last week. The hours before are there.",
        ),
        (
            "The report shows the location chosen at the top right, and it stands at “Storage”. Please "
            "choose your shop.",
            "How did that happen? Anyway, the numbers are there.",
        ),
    ),
    Situation(
        "high normal",
        (OFFICE,),
        ("Former employee still has access", "Please remove access of a former colleague at once"),
        (
            "A colleague left on {day}, not on the best of terms. I deactivated the PIN, but can the person "
            "still log in to Back Office from home?",
            "How do I end all logins of one person? I changed the password, yet the app on the private "
            "phone still shows our sales.",
        ),
        (
            "Under Team > person > Security there is “End all sessions”. A change of password does not end "
            "logins that are open. I have done it for you just now.",
            "Thank you. The phone asks for a password now.",
        ),
    ),
    Situation(
        "normal",
        (OFFICE, WEBSHOP),
        ("Customer asks for deletion of her data", "Request for information under data protection law"),
        (
            "A customer wants all her data deleted. She has a customer card and ordered in the webshop "
            "{count} times.",
            "We received a letter asking which data we have stored about a person. How do I get that out of "
            "the system?",
        ),
        (
            "Under Customers > person > Privacy you find both: an export of everything stored, and "
            "deletion. Invoices have to be kept for tax reasons and are anonymised instead.",
            "That was easier than I feared.",
        ),
    ),
    Situation(
        "normal high",
        (APP,),
        ("Register is very slow on Saturdays", "Adding an item takes five seconds"),
        (
            "When it is busy, adding an item takes several seconds. In the morning everything is fast.",
            "{product} has become slow in the last weeks. We have about {count}00 articles, if that matters.",
        ),
        (
            "Your register keeps every open bill, and there are {count} from the last months that were "
            "never closed. May I close those older than a week?",
            "Please do, those are mistakes.",
            "Done. It should feel as it did on the first day; tell me if it does not on Saturday.",
        ),
    ),
    Situation(
        "low",
        (OFFICE,),
        ("Where can I change our opening hours?", "How do I add a second bank account?"),
        (
            "We open an hour later in winter. The hours in the webshop and on receipts should change.",
            "Card payments should be paid to another account from next month. Where do I enter it?",
        ),
        (
            "Under Company > Locations; there is a switch for winter and summer. For a bank account we need "
            "a document that shows the owner, which you can upload on the same page.",
            "Uploaded, thanks.",
        ),
    ),
    Situation(
        "urgent high",
        (APP, READER),
        ("Nothing works after the power cut", "No internet: how can we go on selling?"),
        (
            "We had a power cut at {time}. Since then the register says “offline” and the reader refuses "
            "cards. The router's lights are on.",
            "Our internet is down in the whole street. Can we take cards without it? There is a queue.",
        ),
        (
            "You can go on selling: cash at once, cards up to {amount} each with “offline payments” under "
            "Settings > Readers. They are sent when the connection is back.",
            "Switched on, works. Our provider says two more hours.",
            "All {count} offline payments have arrived in the meantime, none was refused.",
        ),
    ),
    Situation(
        "normal",
        (WEBSHOP,),
        ("Shipping costs are wrong for islands", "Wrong delivery fee for large orders"),
        (
            "Orders to the islands are charged the normal fee. We pay {amount} more for each parcel.",
            "From {amount} on delivery should be free, but order {ref} was charged.",
        ),
        (
            "Your rule for free delivery counts the sum before vouchers. That order was below the limit "
            "after its voucher. You can choose which of the two counts under Webshop > Delivery.",
            "Changed it, and repaid the customer's fee.",
        ),
    ),
    Situation(
        "low normal",
        (WEBSHOP,),
        ("Can we take pre-orders?", "How to offer pick-up at the market on Saturdays"),
        (
            "For the holidays we would like to take orders for the {item} with a date of collection. Is "
            "that possible?",
            "Customers ask whether they can order online and collect on Saturday at the market.",
        ),
        (
            "Yes: create a delivery method “Collection”, and give it days and a last time for orders. For "
            "pre-orders the article needs the switch “sell without stock”.",
            "We tried it with three articles and it works nicely.",
        ),
    ),
    Situation(
        "high",
        (OFFICE,),
        ("Tax inspection next week: which files are needed?", "Auditor asks for the register's raw data"),
        (
            "We have an inspection on {day}. The auditor wants all transactions of two years in a machine-"
            "readable form.",
            "The tax office asks for the records of the security module. I do not know what that is.",
        ),
        (
            "Under Accounting > Inspection you can export everything an auditor needs as one archive, "
            "signed records included. For two years it takes about an hour; you get an e-mail when it is "
            "ready.",
            "The archive is here. Is it normal that it has {count} files?",
            "Yes, one a week and a list of contents. The auditor's program reads them all at once.",
        ),
    ),
    Situation(
        "normal low",
        (APP, WEBSHOP),
        ("Wrong price for the {item}", "Two prices for the same article"),
        (
            "The {item} costs {amount} at the counter and something else in the webshop. I changed the "
            "price on {day}.",
            "At the register the old price of the {item} appears, although Back Office shows the new one.",
        ),
        (
            "The article has a price for each sales channel, and only one was changed. With “same price "
            "everywhere” in the article there is only one.",
            "Understood. I ticked it for all articles.",
        ),
    ),
    Situation(
        "normal",
        (APP, OFFICE),
        ("Barcode is not recognised", "Scanner beeps but nothing is added"),
        (
            "The scanner beeps, yet the {item} does not appear. Typing the number by hand works.",
            "New articles from our supplier are not found by their barcode. The code has {count} digits.",
        ),
        (
            "The scanner drops the leading zero of these codes. There is a sheet with setting codes in its "
            "box: scan “transmit leading zero”. I attach it as a PDF in case the sheet is gone.",
            "Scanned the code on page 2, now everything is found.",
        ),
    ),
    Situation(
        "low",
        (OFFICE,),
        ("Thank you!", "Praise for your colleague on the phone"),
        (
            "This is not a problem, I only want to say thanks: your colleague stayed on the line on {day} "
            "until the last receipt was printed.",
            "We have been with you for {count} months now and everything runs. Please pass it on to the "
            "team.",
        ),
        ("How kind of you! It hangs on our wall now.",),
    ),
    Situation(
        "normal",
        (APP,),
        ("Training for our new team", "Is there a practice mode?"),
        (
            "We have {count} people starting for the season and would like to train them without booking "
            "real sales.",
            "Can someone show our team how to close the day and how to handle returns? An hour online would "
            "do.",
        ),
        (
            "There is a practice mode: Settings > Practice. The screen turns yellow and nothing is booked. "
            "We also offer an hour online, free of charge; would {day} at {time} suit you?",
            "{day} is perfect, there will be four of us.",
        ),
    ),
)
